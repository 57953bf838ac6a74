/** There is no way to the API server: a kubeconfig or a service account that cannot be used. */
export class ConnectionError extends Error {
  readonly code = 'ConnectionError';
  override readonly name = 'ConnectionError';
}
