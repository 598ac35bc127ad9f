"""Swap a face in a talking clip made from public-domain photographs, and show where the result lies.

The moving target is scikit-image's astronaut (NASA portrait of Eileen Collins), animated through the
face mesh; the source is matplotlib's portrait of Grace Hopper (US Navy). Nothing is downloaded.

    python scripts/demo.py [--out demo] [--seconds 4]
"""

import argparse
import subprocess
import sys
from fractions import Fraction
from pathlib import Path

import av
import matplotlib.cbook
import numpy as np
import skimage.data
from PIL import Image, ImageDraw, ImageFont

from vidswap.faces.photo_faces import source_face
from vidswap.faces.puppet import Puppet, talk

RATE, SIZE, SOUND = Fraction(25), (960, 720), 48000
GRAIN = 1.5
"""Standard deviation of the target's noise, 8-bit levels: what a camera films indoors has it."""


def main():
    """Make the clip, swap, draw the sheet."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("demo"))
    parser.add_argument("--seconds", type=float, default=4.0)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    face, clip = options.out / "source.png", options.out / "target.mp4"
    result = options.out / "swapped.mp4"
    with matplotlib.cbook.get_sample_data("grace_hopper.jpg") as file:
        Image.open(file).convert("RGB").save(face)
    print("1/3 drawing a talking clip", flush=True)
    write_clip(clip, options.seconds)
    print("2/3 vidswap run", flush=True)
    command = [sys.executable, "-m", "vidswap", "run", str(clip), "--source", str(face)]
    command += ["-o", str(result), "--overwrite", "--report", str(options.out / "report")]
    done = subprocess.run(command, check=False)
    if done.returncode:
        sys.exit(done.returncode)
    print("3/3 drawing the contact sheet", flush=True)
    sheet = options.out / "before_after.png"
    draw_sheet(clip, result, face, sheet)
    print(
        f"\nvideo          {result}\nbefore, after  {sheet}\nreport         {options.out / 'report' / 'report.html'}"
    )


def write_clip(path, seconds):
    """Draw the puppet, and give it a voice that follows its jaw."""
    portrait = np.ascontiguousarray(skimage.data.astronaut()[:240, 60:380])
    found = source_face(portrait, "astronaut")
    puppet = Puppet(found.rgb, found.mesh, SIZE)
    acts = [talk(i / float(RATE)) for i in range(round(seconds * RATE))]
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=RATE, options={"crf": "16"})
        video.width, video.height, video.pix_fmt = *SIZE, "yuv420p"
        context = video.codec_context
        context.colorspace = context.color_primaries = context.color_trc = 1
        context.color_range = 1
        audio = out.add_stream("aac", rate=SOUND, layout="mono")
        for index, act in enumerate(acts):
            picture, _ = puppet.frame(act)
            grain = GRAIN * np.random.default_rng(index).standard_normal((*picture.shape[:2], 1))
            noisy = np.clip(np.rint(picture + grain), 0, 255).astype(np.uint8)
            frame = av.VideoFrame.from_ndarray(noisy, format="rgb24")
            frame = frame.reformat(
                format="yuv420p", dst_colorspace="ITU709", dst_color_range="MPEG"
            )
            out.mux(video.encode(frame))
        out.mux(video.encode())
        for block in voice([act.jaw for act in acts]):
            out.mux(audio.encode(block))
        out.mux(audio.encode())


def voice(jaws):
    """Audio frames of a vowel, as loud as the mouth is open."""
    count = round(len(jaws) * SOUND / RATE)
    time = np.arange(count) / SOUND
    loud = np.interp(time * float(RATE), np.arange(len(jaws)), jaws)
    tone = sum(
        np.sin(2 * np.pi * 118 * k * time) / k * g
        for k, g in enumerate((1, 0.6, 0.5, 0.9, 0.9, 0.5, 0.2), 1)
    )
    samples = (0.12 * loud * tone).astype(np.float32)
    for start in range(0, count, 1024):
        block = av.AudioFrame.from_ndarray(
            samples[None, start : start + 1024], format="fltp", layout="mono"
        )
        block.sample_rate, block.pts, block.time_base = SOUND, start, Fraction(1, SOUND)
        yield block


def draw_sheet(clip, result, face, path, columns=4):
    """Source on the left; target frames above, swapped frames below."""
    rows = []
    for video in (clip, result):
        with av.open(str(video)) as file:
            frames = [f.to_image() for f in file.decode(video=0)]
        chosen = np.linspace(0, len(frames) - 1, columns + 2).astype(int)[1:-1]
        rows.append(
            [frames[i].crop((200, 30, 760, 630)).resize((280, 300), Image.LANCZOS) for i in chosen]
        )
    photo = Image.open(face)
    photo = photo.crop((60, 90, 452, 510)).resize((280, 300), Image.LANCZOS)
    sheet = Image.new("RGB", (280 * (columns + 1) + 10, 600), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(18)
    sheet.paste(photo, (0, 0))
    for r, pictures in enumerate(rows):
        for c, picture in enumerate(pictures):
            sheet.paste(picture, (290 + 280 * c, 300 * r))
    draw.text(
        (10, 312),
        "source (above)\ntarget, top row\nswapped, bottom row",
        fill=(40, 40, 40),
        font=font,
    )
    sheet.save(path)


if __name__ == "__main__":
    main()
