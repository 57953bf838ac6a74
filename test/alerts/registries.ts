/** Every metric that a dcred process serves, read from what Prometheus would read. */
import { WebhookMetrics } from '../../src/admission/metrics.ts';
import { AgentMetrics } from '../../src/agent/metrics.ts';
import { AuditMetrics } from '../../src/audit/metrics.ts';
import { IssuerMetrics } from '../../src/issuer/metrics.ts';
import { OperatorMetrics } from '../../src/operator/metrics.ts';
import { SignerClientMetrics } from '../../src/operator/signer-link.ts';
import { SignerMetrics } from '../../src/signer/metrics.ts';

/** Names as a query writes them: a histogram has `_bucket`, `_sum` and `_count`. */
export async function sampleNames(): Promise<ReadonlySet<string>> {
  const texts = [
    await operatorText(),
    await webhookText(),
    await new SignerMetrics('0').registry.metrics(),
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

/** The names of the metric families that operator and webhook serve, without those of the process. */
export async function documentedNames(): Promise<readonly string[]> {
  const text = (await operatorText({ isProcess: false })) + (await webhookText());
  return [...new Set([...text.matchAll(/^# TYPE (\w+) /gm)].map(([, name = '']) => name))];
}

async function operatorText({ isProcess = true } = {}): Promise<string> {
  const operator = new OperatorMetrics('0');
  operator.watchClockSkew(() => 0);
  operator.watchRefusals(() => []);
  if (isProcess) operator.engine.collectProcessMetrics();
  new SignerClientMetrics(operator.registry);
  return await operator.registry.metrics();
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
