// Draws a class activation map over the picture that the network saw.

const POSITIVE_COLOUR = [240, 120, 0];
const NEGATIVE_COLOUR = [30, 110, 235];
const MAX_OPACITY = 0.8; // of the largest value in any class's map; opacity grows with the square, so that peaks stand out

/** Draws `picture`, and over it the 3×3 `grid` unless it is null. A value of `peak` gets the strongest colour. */
export function draw(canvas, picture, grid, peak) {
  const context = canvas.getContext("2d");
  context.imageSmoothingEnabled = true;
  context.drawImage(picture, 0, 0, canvas.width, canvas.height);
  if (grid && peak > 0) context.drawImage(heatmap(grid, peak), 0, 0, canvas.width, canvas.height);
}

/** The largest absolute value of all maps. One scale for all makes the classes comparable. */
export const largestAbsolute = (maps) => Math.max(...Object.values(maps).flat(2).map(Math.abs));

/** A 3×3 grid as a coloured 96×96 picture. Values are interpolated between the centres of the cells, then coloured. */
function heatmap(grid, peak, size = 96) {
  const layer = new OffscreenCanvas(size, size);
  const image = new ImageData(size, size);
  const steps = Array.from({ length: size }, (_, i) => neighbours(((i + 0.5) * grid.length) / size - 0.5, grid.length - 1));
  for (let y = 0; y < size; y++) {
    for (let x = 0; x < size; x++) {
      const [top, bottom, down] = steps[y];
      const [left, right, across] = steps[x];
      const above = interpolate(grid[top][left], grid[top][right], across);
      const below = interpolate(grid[bottom][left], grid[bottom][right], across);
      const value = interpolate(above, below, down) / peak;
      image.data.set([...(value > 0 ? POSITIVE_COLOUR : NEGATIVE_COLOUR), 255 * MAX_OPACITY * value ** 2], 4 * (y * size + x));
    }
  }
  layer.getContext("2d").putImageData(image, 0, 0);
  return layer;
}

/** The cells before and after a coordinate, and its position between them, 0 to 1. */
function neighbours(coordinate, last) {
  const clamped = Math.min(Math.max(coordinate, 0), last);
  const before = Math.min(Math.floor(clamped), last - 1);
  return [before, before + 1, clamped - before];
}

const interpolate = (a, b, share) => a + (b - a) * share;
