/** Every metric that a dcred process serves, read from what Prometheus would read. */
import type { Registry } from 'prom-client';
import { WebhookMetrics } from '../../src/admission/metrics.ts';
import { AgentMetrics } from '../../src/agent/metrics.ts';
import { AuditMetrics } from '../../src/audit/metrics.ts';
import { IssuerMetrics } from '../../src/issuer/metrics.ts';
import { SignerClientMetrics } from '../../src/operator/certificates/signer-link.ts';
import { OperatorMetrics } from '../../src/operator/reporting/metrics.ts';
import { SignerMetrics } from '../../src/signer/metrics.ts';

/** Names as a query writes them: a histogram has `_bucket`, `_sum` and `_count`. */
export async function sampleNames(): Promise<ReadonlySet<string>> {
  const texts = [
    await operatorText(),
    await webhookText(),
    await signerRegistry().metrics(),
    agentText(),
    await new AuditMetrics('0').registry.metrics(),
    await new IssuerMetrics('0').registry.metrics(),
  ];
  const families = texts.flatMap((text) => [...text.matchAll(/^# TYPE (\w+) (\w+)$/gm)]);
  const names = families.flatMap(([, name = '', type]) =>
    type === 'histogram' ? [`${name}_bucket`, `${name}_sum`, `${name}_count`] : [name],
  );
  return new Set(names);
}

const PROGRAMS = {
  operator: () => operatorRegistry().registry,
  webhook: () => new WebhookMetrics('0').registry,
  signer: signerRegistry,
  audit: () => new AuditMetrics('0').registry,
  issuer: () => new IssuerMetrics('0').registry,
} as const satisfies Readonly<Record<string, () => Registry>>;

/** The labels of each metric family of a program, in the order of their declaration; `agent` too. */
export async function labelsOf(program: keyof typeof PROGRAMS | 'agent'): Promise<ReadonlyMap<string, string>> {
  if (program === 'agent') return sampleLabels(agentText());
  const registry = PROGRAMS[program]();
  const declared = registry.getMetricsAsArray() as unknown as readonly { name: string; labelNames: string[] }[];
  const found = new Map(declared.map(({ labelNames, name }) => [name, labelNames.join(', ')]));
  // What prom-client does not know of: the series of the resources.
  for (const [name, labels] of sampleLabels(await registry.metrics()))
    if (!isKnown(name, found)) found.set(name, labels);
  return found;
}

function isKnown(sample: string, families: ReadonlyMap<string, string>): boolean {
  return families.has(sample) || families.has(sample.replace(/_(?:bucket|sum|count)$/, ''));
}

function sampleLabels(text: string): ReadonlyMap<string, string> {
  const samples = [...text.matchAll(/^(\w+)(?:\{(.*)\})? \S+$/gm)];
  return new Map(
    samples.map(([, name = '', labels = '']) => [
      name,
      [...labels.matchAll(/(\w+)="/g)].map(([, label]) => label).join(', '),
    ]),
  );
}

/** With a sample of every series that a resource has. */
function operatorRegistry(): OperatorMetrics {
  const operator = new OperatorMetrics('0');
  operator.watchClockSkew(() => 0);
  operator.watchRefusals(() => []);
  new SignerClientMetrics(operator.registry);
  operator.resource({
    namespace: 'edge',
    name: 'web',
    ready: true,
    pods: { selected: 1, issued: 1, failed: 0, notInjected: 0, earliestExpiry: 2, renewalDeadline: 2, nextRenewal: 1 },
    certificate: { notBefore: 0, notAfter: 3 },
  });
  return operator;
}

async function operatorText(): Promise<string> {
  const operator = operatorRegistry();
  operator.engine.collectProcessMetrics();
  return await operator.registry.metrics();
}

function signerRegistry(): Registry {
  const signer = new SignerMetrics('0');
  signer.watchGrants(() => []);
  return signer.registry;
}

async function webhookText(): Promise<string> {
  return await new WebhookMetrics('0').registry.metrics();
}

/** The agent writes a family only once it has a sample. */
function agentText(): string {
  const agent = new AgentMetrics('0', ['signal:HUP:nginx']);
  agent.mounted('/a', 1);
  agent.served(1);
  agent.reloaded('signal:HUP:nginx', 'ok', 1);
  return agent.render(true);
}
