/** What a Kubernetes version lacks of what dcred uses. Pure. */
import { RELOAD_ANNOTATION } from '../api/keys.ts';
import { type Finding, ok, problem, warning } from './finding.ts';

/** The chart's `kubeVersion` is the same; a test holds that. */
export const OLDEST_MINOR = 31;

/** `GET /version`. */
export interface ServerVersion {
  readonly gitVersion?: string;
  readonly major?: string;
  readonly minor?: string;
}

interface Feature {
  readonly name: string;
  /** The first minor version of Kubernetes 1 that has it, on by default. */
  readonly since: number;
  /** What does not work without it. */
  readonly without: string;
  readonly remedy: string;
}

/** Each on by default from that version on: a feature gate that was switched off by hand does not show. */
export const FEATURES: readonly Feature[] = [
  {
    name: 'scheduling gates',
    since: 27,
    without: 'injected pods start while their Secret is still missing, and their kubelets retry',
    remedy: 'set webhook.gatePods=false in the chart',
  },
  {
    name: 'sidecar containers',
    since: 29,
    without: 'the reload agent cannot run beside a server',
    remedy: `let the server watch its files itself, and do not set the annotation ${RELOAD_ANNOTATION}`,
  },
  {
    name: 'ValidatingAdmissionPolicy',
    since: 30,
    without: "dcred's own accounts are limited by RBAC alone",
    remedy: 'set admissionPolicies.enabled=false in the chart',
  },
  {
    name: 'selectable fields of custom resources',
    since: 31,
    without: 'kubectl get dcred --field-selector spec.certificateRef.name=NAME is refused',
    remedy: 'select by labels instead',
  },
];

/** APIs that dcred calls: without one of them nothing works. */
export const REQUIRED_APIS: readonly string[] = [
  'admissionregistration.k8s.io/v1',
  'apiextensions.k8s.io/v1',
  'authorization.k8s.io/v1',
  'coordination.k8s.io/v1',
  'discovery.k8s.io/v1',
  'events.k8s.io/v1',
];

export function checkVersion(version: ServerVersion, server: string): readonly Finding[] {
  const name = version.gitVersion ?? 'of an unknown version';
  const minor = minorOf(version);
  if (minor === undefined) {
    const message = `the API server at ${server} reports the version "${name}", which is not a version of Kubernetes`;
    return [warning('ApiServer', message, 'check that the kubeconfig names a Kubernetes API server')];
  }
  if (minor < OLDEST_MINOR) {
    const message = `Kubernetes ${name} at ${server}; dcred needs 1.${OLDEST_MINOR} or newer`;
    return [problem('ApiServer', message, 'upgrade the cluster'), ...checkFeatures(minor, name)];
  }
  return [ok('ApiServer', `Kubernetes ${name} at ${server}`), ...checkFeatures(minor, name)];
}

function checkFeatures(minor: number, name: string): readonly Finding[] {
  const lacking = FEATURES.filter(({ since }) => since > minor);
  if (lacking.length === 0) return [ok('Features', `has ${FEATURES.map((feature) => feature.name).join(', ')}`)];
  return lacking.map(({ name: feature, remedy, since, without }) =>
    warning('Features', `${name} has no ${feature} (they come with 1.${since}): ${without}`, remedy),
  );
}

/** @param served `group/version` of everything that the API server serves */
export function checkApis(served: readonly string[]): Finding {
  const missing = REQUIRED_APIS.filter((one) => !served.includes(one));
  if (missing.length === 0) return ok('ApiVersions', `serves ${REQUIRED_APIS.join(', ')}`);
  return problem(
    'ApiVersions',
    `the API server does not serve ${missing.join(', ')}`,
    'remove what disables them from --runtime-config of the API server',
  );
}

/** Distributions add to the minor version: `31+`. */
function minorOf({ major, minor }: ServerVersion): number | undefined {
  const digits = /^\d{1,4}/.exec(minor ?? '')?.[0];
  return major === '1' && digits !== undefined ? Number(digits) : undefined;
}

const TOLERATED_SKEW_SECONDS = 30;
/** Beyond the reserve that lifetimes leave, credentials are expired, or not yet valid, on arrival. */
const MAX_SKEW_SECONDS = 3_600;

/** @param skewMs local minus server time; undefined where the API server sends no date */
export function checkClock(skewMs: number | undefined): Finding {
  if (skewMs === undefined) {
    return warning('ClockSkew', 'the API server sends no Date header', 'compare the clocks of the nodes by hand');
  }
  const seconds = Math.round(Math.abs(skewMs) / 1000);
  if (seconds <= TOLERATED_SKEW_SECONDS) return ok('ClockSkew', "this machine's clock agrees with the API server's");
  const message = `this machine's clock is ${seconds} s ${skewMs > 0 ? 'ahead of' : 'behind'} the API server's`;
  const remedy = 'set both by NTP; times that dcred prints here are off by as much';
  return (seconds > MAX_SKEW_SECONDS ? problem : warning)('ClockSkew', message, remedy);
}
