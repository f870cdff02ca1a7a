// A class activation map over the picture that the network saw.

const FOR = [240, 120, 0];
const AGAINST = [30, 110, 235];
const STRONGEST = 0.8; // opacity of the largest value in any class's map; half of it has a quarter of that, so that peaks stand out

/** Draws `picture`, and over it the 3×3 `grid` unless it is null, its colours scaled so that `peak` is the strongest. */
export function draw(canvas, picture, grid, peak) {
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = true;
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  if (grid && peak > 0) context.drawImage(colours(grid, peak), 0, 0, canvas.width, canvas.height);
}

/** The largest absolute value of all maps, so that the classes of one picture can be compared. */
export const peakOf = (maps) => Math.max(...Object.values(maps).flat(2).map(Math.abs));

/** 3×3 → a picture of 96×96, interpolated between the centres of the nine places (before colouring, not after). */
function colours(grid, peak, size = 96) {
  const layer = new OffscreenCanvas(size, size);
  const image = new ImageData(size, size);
  const steps = Array.from({ length: size }, (_, i) => place(((i + 0.5) * grid.length) / size - 0.5, grid.length - 1));
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const [top, bottom, down] = steps[y];
      const [left, right, across] = steps[x];
      const above = mix(grid[top][left], grid[top][right], across);
      const below = mix(grid[bottom][left], grid[bottom][right], across);
      const value = mix(above, below, down) / peak;
      image.data.set([...(value > 0 ? FOR : AGAINST), 255 * STRONGEST * value ** 2], 4 * (y * size + x));
    }
  }
  layer.getContext("2d").putImageData(image, 0, 0);
  return layer;
}

/** A coordinate → the places before and behind it, and how far it is from the one to the other. */
function place(at, last) {
  const clamped = Math.min(Math.max(at, 0), last);
  const before = Math.min(Math.floor(clamped), last - 1);
  return [before, before + 1, clamped - before];
}

const mix = (a, b, share) => a + (b - a) * share;
