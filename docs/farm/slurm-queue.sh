#!/usr/bin/env bash
# A folder of clips on Slurm, with nothing but vidswap: sbatch slurm-queue.sh
# Submit it again, or with more tasks, at any time: workers share what is left.
#SBATCH --job-name=vidswap
#SBATCH --array=0-15
#SBATCH --cpus-per-task=2
#SBATCH --mem=4G
#SBATCH --time=08:00:00
#SBATCH --requeue
#SBATCH --signal=TERM@60
##SBATCH --gres=gpu:1
set -euo pipefail

clips=/shared/clips
out=/shared/swapped
photo=/shared/eve.jpg

export OMP_NUM_THREADS=${SLURM_CPUS_PER_TASK:-1}

# Whoever comes first queues; for the others there is nothing new to queue.
vidswap batch "$clips" "$out" --source "$photo" --workers 0 || [[ $? -eq 7 ]]
exec vidswap worker "$out/.vidswap/queue" --grace 45 --log-format json
