// Run by `helm test`: requests the operator's metrics through the Service until it answers or the time is up.
const { METRICS_URL, EXPECT_AUTH, EXPECTED_VERSION, WAIT_SECONDS } = process.env;
const deadline = Date.now() + Number(WAIT_SECONDS) * 1000;

async function requestVersion() {
  const response = await fetch(METRICS_URL, { signal: AbortSignal.timeout(5000) });
  // Without a token there is no version to read: the refusal itself says who answers.
  if (EXPECT_AUTH === 'true') {
    if (response.status === 401 && response.headers.get('www-authenticate') === 'Bearer realm="dcred"') return '(metrics.auth)';
    throw new Error(`expected status 401 of dcred, got ${response.status}`);
  }
  if (!response.ok) throw new Error(`expected status 200, got ${response.status}`);
  const text = await response.text();
  const version = /^dcred_build_info\{version="([^"]*)"\} 1$/m.exec(text)?.[1];
  if (version === undefined) throw new Error('expected dcred_build_info in the response and found none: this is not dcred');
  if (EXPECTED_VERSION !== '' && version !== EXPECTED_VERSION) {
    throw new Error(`expected version ${EXPECTED_VERSION}, got ${version}`);
  }
  return version;
}

for (;;) {
  try {
    console.log(`dcred ${await requestVersion()} is ready: the API server serves its resources and lets it read them`);
    break;
  } catch (error) {
    if (Date.now() > deadline) {
      console.error(`${METRICS_URL}: ${error.message}${error.cause ? ` (${error.cause.message})` : ''}`);
      console.error('Check the pods of the release: a replica is ready once it can list every kind that it watches.');
      process.exit(1);
    }
    await new Promise((resolve) => setTimeout(resolve, 1000));
  }
}
