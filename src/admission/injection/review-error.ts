/** The review cannot be answered: no correct configuration makes the API server send it. */
export class ReviewError extends Error {
  readonly code = 'BadReview';
  override readonly name = 'ReviewError';
}
