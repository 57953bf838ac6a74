/** The API server's two answers with status 404. */
import { ApiError } from '../../src/kubernetes/api-error.ts';

const NOT_FOUND = { status: 404, reason: 'NotFound' };

/** There is no such object. */
export const missing = (name = 'web'): ApiError =>
  new ApiError(`"${name}" not found`, { ...NOT_FOUND, details: { name } });

/** The kind is not served, or not yet: of the object this says nothing. */
export const notServed = (): ApiError => new ApiError('404 page not found', NOT_FOUND);
