/**
 * The manifests held to the restricted Pod Security Standard, to one another, and to what the
 * program reads.
 */
import { mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import t from 'tap';
import { parse } from 'yaml';
import { proxyVariables } from '../../cmd/environment.ts';
import { AGENT_API } from '../../cmd/api-socket.ts';
import { type Config, loadConfig } from '../../lib/config/load/load.ts';
import { formatAuthority } from '../../lib/net/authority.ts';
import { KUBERNETES, files, manifest, manifests, sidecarOf, workloads } from './manifests.ts';

/**
 * Loads the ConfigMap from a folder laid out as the kubelet does it: through links of which one is
 * exchanged.
 */
async function mounted(folder: string): Promise<Config> {
  mkdirSync(join(folder, '..2026_11_24'));
  symlinkSync('..2026_11_24', join(folder, '..data'));
  for (const [name, text] of Object.entries(manifest('ConfigMap').data ?? {})) {
    writeFileSync(join(folder, '..2026_11_24', name), text);
    symlinkSync(`..data/${name}`, join(folder, name));
  }
  return loadConfig([folder], { generation: 1 });
}

t.test('the documents of the ConfigMap load from where the kubelet puts them', async (t) => {
  const { sidecar, policy } = await mounted(t.testdir());
  t.ok(
    sidecar.audit.sinks.every((sink) => sink.kind !== 'file'),
    'nothing is written to a read-only file system',
  );
  t.equal(sidecar.audit.onFailure, 'deny');
  t.equal(sidecar.forward?.host, '127.0.0.1');
  t.ok(policy.destinations.length > 0);
});

t.test('every container keeps to the restricted Pod Security Standard', async (t) => {
  for (const { kind, pod } of workloads()) {
    t.notOk(pod.hostNetwork ?? pod.hostPID ?? pod.hostIPC, `${kind}: no namespace of the host`);
    for (const volume of pod.volumes)
      t.ok(
        volume.csi ?? volume.configMap ?? volume.emptyDir,
        `${kind}: ${volume.name} is of an allowed type`,
      );
    for (const { name, securityContext, ports = [] } of [
      ...pod.initContainers,
      ...pod.containers,
    ]) {
      t.match(
        securityContext,
        {
          runAsNonRoot: true,
          allowPrivilegeEscalation: false,
          readOnlyRootFilesystem: true,
          capabilities: { drop: ['ALL'], add: undefined },
          seccompProfile: { type: 'RuntimeDefault' },
          privileged: undefined,
        },
        `${kind}: ${name}`,
      );
      t.ok((securityContext.runAsUser ?? 0) > 0, `${kind}: ${name} has a number for a user`);
      t.ok(ports.every(({ hostPort }) => hostPort === undefined));
    }
  }
  t.equal(
    manifest('Namespace').metadata.labels?.['pod-security.kubernetes.io/enforce'],
    'restricted',
  );
});

t.test('the Workload API is mounted as a folder, in the sidecar and nowhere else', async (t) => {
  t.same(
    workloads()
      .map(({ kind }) => kind)
      .toSorted(),
    ['Deployment', 'Job'],
  );
  for (const { kind, pod } of workloads()) {
    const [socket, ...more] = pod.volumes.filter(({ csi }) => csi !== undefined);
    t.same(socket?.csi, { driver: 'csi.spiffe.io', readOnly: true }, kind);
    t.equal(more.length, 0);
    const [mount] = sidecarOf(pod).volumeMounts.filter(({ name }) => name === socket?.name);
    t.match(mount, { readOnly: true, subPath: undefined });
    t.ok(
      text().includes(`workloadApi: unix://${mount?.mountPath}/`),
      `${kind}: the documents look for it there`,
    );
    for (const { name, volumeMounts } of pod.containers)
      t.notOk(
        volumeMounts.some((each) => each.name === socket?.name),
        `${kind}: not in ${name}`,
      );
  }
});

t.test('agent and sidecar share neither user, process namespace nor API token', async (t) => {
  for (const { kind, pod } of workloads()) {
    t.equal(pod.shareProcessNamespace, false, kind);
    t.equal(pod.automountServiceAccountToken, false, kind);
    const user = sidecarOf(pod).securityContext.runAsUser;
    for (const { securityContext } of pod.containers) t.not(securityContext.runAsUser, user, kind);
  }
});

t.test(
  'the sidecar is native, probed on the health port, and drains within the grace period',
  async (t) => {
    const { sidecar } = await mounted(t.testdir());
    for (const { kind, pod } of workloads()) {
      const chaperone = sidecarOf(pod);
      t.equal(chaperone.restartPolicy, 'Always', kind);
      const health = chaperone.ports?.find(({ name }) => name === 'health');
      t.equal(health?.containerPort, sidecar.health?.port, kind);
      t.equal(sidecar.health?.host, '0.0.0.0', 'the kubelet is not on the loopback of the pod');
      t.same(chaperone.startupProbe?.httpGet, { path: '/readyz', port: 'health' });
      t.same(chaperone.readinessProbe?.httpGet, { path: '/readyz', port: 'health' });
      t.same(chaperone.livenessProbe?.httpGet, { path: '/livez', port: 'health' });
      t.ok(sidecar.drain < pod.terminationGracePeriodSeconds * 1000, kind);
    }
  },
);

t.test(
  'the agent gets the variables that chaperone env prints, and the socket of its door',
  async (t) => {
    const { sidecar } = await mounted(t.testdir());
    const { host = '', port = 0 } = sidecar.forward ?? {};
    const wanted = {
      ...proxyVariables(`http://${formatAuthority(host, port, undefined)}`),
      [AGENT_API]: sidecar.agentApi?.socket,
    };
    for (const { kind, pod } of workloads()) {
      for (const { name, env = [] } of pod.containers)
        t.same(
          Object.fromEntries(env.map((each) => [each.name, each.value])),
          wanted,
          `${kind}: ${name}`,
        );
    }
  },
);

t.test(
  'the door of the agent is shared with it, and that of the operator is nobody else’s',
  async (t) => {
    const { sidecar, policy } = await mounted(t.testdir());
    t.ok(policy.taskPolicies.size > 0, 'there is something to open tasks for');
    t.ok(
      policy.destinations.every(({ task }) => task === 'required'),
      'and nothing without one',
    );
    const holds = (folder: string, socket = ''): boolean => socket.startsWith(`${folder}/`);
    for (const { kind, pod } of workloads()) {
      t.ok((pod.securityContext.fsGroup ?? 0) > 0, 'a group of both, which is that of the socket');
      t.equal(sidecar.agentApi?.mode, 0o660);
      for (const socket of [sidecar.agentApi?.socket, sidecar.adminApi?.socket]) {
        const [mount, ...more] = sidecarOf(pod).volumeMounts.filter(({ mountPath }) =>
          holds(mountPath, socket),
        );
        t.equal(more.length, 0);
        t.not(mount?.readOnly, true, `${kind}: ${socket}`);
        const volume = pod.volumes.find(({ name }) => name === mount?.name);
        t.match(
          volume?.emptyDir,
          { medium: 'Memory', sizeLimit: /./ },
          'it goes with the pod, and cannot grow',
        );
        const shared = socket === sidecar.agentApi?.socket;
        for (const { name, volumeMounts } of pod.containers) {
          const theirs = volumeMounts.filter((each) => each.name === volume?.name);
          t.match(
            theirs,
            shared ? [{ mountPath: mount?.mountPath, readOnly: true }] : [],
            `${kind}: ${name}`,
          );
        }
      }
    }
  },
);

t.test(
  'the SVID is registered for the container of the sidecar, under the ID that the documents select',
  async (t) => {
    const { spec } = manifest('ClusterSPIFFEID');
    t.equal(spec?.className, 'spire-mgmt-spire', 'that of the chart, which takes no other');
    for (const { kind, labels, pod } of workloads()) {
      t.match(labels, spec?.podSelector?.matchLabels, kind);
      t.ok(
        spec?.workloadSelectorTemplates?.includes(`k8s:container-name:${sidecarOf(pod).name}`),
        kind,
      );
      for (const { name } of pod.containers) t.not(name, sidecarOf(pod).name);
      const id = spec?.spiffeIDTemplate
        ?.replace('{{ .TrustDomain }}', 'example.org')
        .replace('{{ .PodMeta.Namespace }}', manifest('Namespace').metadata.name)
        .replace('{{ .PodSpec.ServiceAccountName }}', pod.serviceAccountName);
      t.equal((await mounted(t.testdir())).sidecar.identity.select.spiffeId, id);
    }
  },
);

t.test('every name that a manifest refers to is there', async (t) => {
  const names = (kind: string): readonly string[] =>
    manifests().flatMap((each) => (each.kind === kind ? [each.metadata.name] : []));
  const namespace = manifest('Namespace').metadata.name;
  for (const { kind, metadata } of manifests())
    if (!['Namespace', 'ClusterSPIFFEID'].includes(kind))
      t.equal(metadata.namespace, namespace, kind);
  for (const { labels, pod } of workloads()) {
    t.ok(names('ServiceAccount').includes(pod.serviceAccountName));
    t.match(labels, manifest('NetworkPolicy').spec?.podSelector?.matchLabels);
    for (const { configMap } of pod.volumes)
      if (configMap !== undefined) t.ok(names('ConfigMap').includes(configMap.name));
    const volumes = pod.volumes.map(({ name }) => name);
    for (const { volumeMounts } of [...pod.initContainers, ...pod.containers])
      for (const { name } of volumeMounts) t.ok(volumes.includes(name), name);
  }
  const deployment = manifest('Deployment').spec;
  t.match(deployment?.template?.metadata.labels, deployment?.selector?.matchLabels);
  const resources = (folder: string): readonly string[] => {
    const text = readFileSync(join(KUBERNETES, folder, 'kustomization.yaml'), 'utf8');
    return (parse(text) as { readonly resources: readonly string[] }).resources.map((name) =>
      join(folder, name),
    );
  };
  t.same(
    [...resources(''), ...resources('registration'), 'job.yaml'].toSorted(),
    files().toSorted(),
  );
});

t.test('the Job is the pod of the Deployment', async (t) => {
  const [deployment, job] = workloads().toSorted((a, b) => a.kind.localeCompare(b.kind));
  t.same({ ...deployment?.pod, restartPolicy: 'Never' }, job?.pod);
});

const text = (): string => Object.values(manifest('ConfigMap').data ?? {}).join('\n');
