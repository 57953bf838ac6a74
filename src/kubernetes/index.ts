/**
 * The package's entry point, `dcred/kubernetes`: an engine for Kubernetes operators. See README.md. Within this repository import the
 * files themselves.
 */
// biome-ignore-all lint/performance/noBarrelFile: a package has one entry point
export { ApiError, type ApiErrorDetails, isApiError, retryAfterMs } from './api-error.ts';
export { Backoff, type BackoffOptions, backoffMs } from './backoff.ts';
export {
  type Change,
  Reflector,
  type ReflectorEvent,
  type ReflectorOptions,
} from './cache/reflector.ts';
export { type Indexers, Store } from './cache/store.ts';
export { ApiClient } from './client/api-client.ts';
export type {
  ApiCall,
  ApiClientOptions,
  ApplyOptions,
  CallOptions,
  CreateOptions,
  DeleteOptions,
  ListOptions,
  ListSelection,
  ObjectReference,
  ReadOptions,
  WatchOptions,
  WatchSelection,
  WritableObject,
  WriteOptions,
} from './client/api-types.ts';
export type { ClockMeasurement } from './client/clock-skew.ts';
export { type Clock, systemClock, type TimerHandle } from './clock.ts';
export { type ConditionUpdate, setCondition } from './conditions.ts';
export type { Connection, ConnectionCredentials, ConnectionTls } from './connection/connection.ts';
export { ConnectionError } from './connection/connection-error.ts';
export { type LoadConnectionOptions, loadConnection } from './connection/load-connection.ts';
export type { EventInput, EventSubject } from './events/event.ts';
export { type EventDropReason, EventRecorder, type EventRecorderOptions } from './events/event-recorder.ts';
export { type HolderIdentityInput, holderIdentity } from './leader/holder-identity.ts';
export { LeaderElector, type LeaderElectorOptions, type RunForLeaderOptions } from './leader/leader-election.ts';
export type { Logger } from './log.ts';
export type {
  Condition,
  KubernetesObject,
  ObjectList,
  ObjectMeta,
  PartialObjectMetadata,
  WatchEvent,
} from './objects.ts';
export { type Lane, WorkQueue, type WorkQueueEvent, type WorkQueueOptions } from './queue/work-queue.ts';
export { type Outcome, type ReconcileObservation, type RunWorkersOptions, runWorkers } from './queue/workers.ts';
export { EVENTS, LEASES, PODS, type ResourceType, SECRETS } from './resource-type.ts';
