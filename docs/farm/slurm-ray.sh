#!/usr/bin/env bash
# One run on Slurm with Ray: a head on the first node, a worker on each of the others.
# sbatch slurm-ray.sh        (again after a failure: what is done is kept)
#SBATCH --job-name=vidswap-ray
#SBATCH --nodes=4
#SBATCH --ntasks-per-node=1
#SBATCH --cpus-per-task=16
#SBATCH --time=04:00:00
##SBATCH --gres=gpu:2
set -euo pipefail

clip=/shared/film.mp4
photo=/shared/eve.jpg
output=/shared/film_swapped.mp4
port=6379

export RAY_USAGE_STATS_ENABLED=0
mapfile -t nodes < <(scontrol show hostnames "$SLURM_JOB_NODELIST")
head=${nodes[0]}

srun --nodes=1 --ntasks=1 --nodelist="$head" --overlap \
  ray start --head --port="$port" --num-cpus="$SLURM_CPUS_PER_TASK" --include-dashboard=false --block &
for node in "${nodes[@]:1}"; do
  srun --nodes=1 --ntasks=1 --nodelist="$node" --overlap \
    ray start --address="$head:$port" --num-cpus="$SLURM_CPUS_PER_TASK" --block &
done

# The driver runs on the head's node; ray status answers once the cluster is up.
srun --nodes=1 --ntasks=1 --nodelist="$head" --overlap bash -c '
  until ray status >/dev/null 2>&1; do sleep 2; done
  exec "$@"' driver \
  vidswap run "$clip" --source "$photo" -o "$output" --ray auto --cpus-per-worker 2 \
  --log-format json
