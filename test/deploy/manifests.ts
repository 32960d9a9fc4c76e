/** Reads deploy/kubernetes as values; any shape is allowed until a test asks for one. */
import { readFileSync, readdirSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { parseAllDocuments } from 'yaml';

export const KUBERNETES = resolve(import.meta.dirname, '../../deploy/kubernetes');

export interface Named {
  readonly name: string;
}

export interface SecurityContext {
  readonly runAsUser?: number;
  readonly runAsNonRoot?: boolean;
  readonly allowPrivilegeEscalation?: boolean;
  readonly readOnlyRootFilesystem?: boolean;
  readonly privileged?: boolean;
  readonly capabilities?: { readonly drop?: readonly string[]; readonly add?: readonly string[] };
  readonly seccompProfile?: { readonly type: string };
}

export interface Probe {
  readonly httpGet: { readonly path: string; readonly port: string };
}

export interface Container extends Named {
  readonly image: string;
  readonly restartPolicy?: string;
  readonly env?: readonly (Named & { readonly value: string })[];
  readonly ports?: readonly (Named & {
    readonly containerPort: number;
    readonly hostPort?: number;
  })[];
  readonly securityContext: SecurityContext;
  readonly volumeMounts: readonly (Named & {
    readonly mountPath: string;
    readonly subPath?: string;
    readonly readOnly?: boolean;
  })[];
  readonly startupProbe?: Probe;
  readonly readinessProbe?: Probe;
  readonly livenessProbe?: Probe;
}

export interface Pod {
  readonly serviceAccountName: string;
  readonly automountServiceAccountToken: boolean;
  readonly shareProcessNamespace: boolean;
  readonly hostNetwork?: boolean;
  readonly hostPID?: boolean;
  readonly hostIPC?: boolean;
  readonly terminationGracePeriodSeconds: number;
  readonly securityContext: SecurityContext & { readonly fsGroup?: number };
  readonly initContainers: readonly Container[];
  readonly containers: readonly Container[];
  readonly volumes: readonly (Named & {
    readonly csi?: { readonly driver: string; readonly readOnly: boolean };
    readonly configMap?: Named;
    readonly emptyDir?: { readonly medium?: string; readonly sizeLimit?: string };
  })[];
}

export type Labels = Readonly<Record<string, string>>;

export interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
  readonly metadata: Named & { readonly namespace?: string; readonly labels?: Labels };
  readonly data?: Readonly<Record<string, string>>;
  readonly spec?: {
    readonly template?: { readonly metadata: { readonly labels: Labels }; readonly spec: Pod };
    readonly selector?: { readonly matchLabels: Labels };
    readonly podSelector?: { readonly matchLabels: Labels };
    readonly workloadSelectorTemplates?: readonly string[];
    readonly spiffeIDTemplate?: string;
    readonly className?: string;
  };
}

/** Paths of the manifests below the folder, without the kustomizations. */
export const files = (): readonly string[] =>
  readdirSync(KUBERNETES, { recursive: true, encoding: 'utf8' }).filter(
    (name) => name.endsWith('.yaml') && basename(name) !== 'kustomization.yaml',
  );

/** Every object of the folder. Throws on a YAML error or warning. */
export function manifests(): readonly Manifest[] {
  return files().flatMap((file) =>
    [...parseAllDocuments(readFileSync(join(KUBERNETES, file), 'utf8'))].map((document) => {
      const wrong = [...document.errors, ...document.warnings][0];
      if (wrong !== undefined) throw new Error(`${file}: ${wrong.message}`);
      return document.toJS() as Manifest;
    }),
  );
}

/** The one object of a kind. */
export function manifest(kind: string): Manifest {
  const [found, ...more] = manifests().filter((each) => each.kind === kind);
  if (found === undefined || more.length > 0)
    throw new Error(`${more.length + 1} objects of kind ${kind}`);
  return found;
}

/** Everything that makes pods. */
export function workloads(): readonly {
  readonly kind: string;
  readonly labels: Labels;
  readonly pod: Pod;
}[] {
  return manifests().flatMap(({ kind, spec }) =>
    spec?.template === undefined
      ? []
      : [{ kind, labels: spec.template.metadata.labels, pod: spec.template.spec }],
  );
}

/** The sidecar of a pod. */
export function sidecarOf({ initContainers }: Pod): Container {
  const [only, ...more] = initContainers;
  if (only === undefined || more.length > 0) throw new Error('not one init container');
  return only;
}
