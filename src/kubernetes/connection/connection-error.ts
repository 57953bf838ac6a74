/** No usable kubeconfig or service account. */
export class ConnectionError extends Error {
  readonly code = 'ConnectionError';
  override readonly name = 'ConnectionError';
}
