/**
 * undici publishes no types for its single files; loading these two saves 20 ms and 14 MB over loading the package. Its index
 * is also what gives dispatchers their `request` method, which is therefore called as a function here.
 */

declare module 'undici/lib/dispatcher/pool.js' {
  import type { Pool } from 'undici';

  const PoolConstructor: typeof Pool;
  export = PoolConstructor;
}

declare module 'undici/lib/api/api-request.js' {
  import type { Dispatcher } from 'undici';

  function request(this: Dispatcher, options: Dispatcher.RequestOptions): Promise<Dispatcher.ResponseData>;
  export = request;
}
