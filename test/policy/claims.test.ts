/**
 * Names that proxies and clouds send to the servers behind them, family by family, and names that
 * only look like those.
 */
import t from 'tap';
import { claimOf } from '../../lib/policy/model/claims.ts';
import { foldField, kindOf } from '../../lib/policy/model/field-table.ts';

const names = (text: string): readonly string[] => text.trim().split(/\s+/);

const FAMILIES: Readonly<Record<string, string>> = {
  'the certificate that a client showed': `client-cert client-cert-chain x-client-cert x-client-cert-chain
    x-client-cert-present x-client-cert-hash x-client-cert-spiffe x-client-certificate x-client-dn
    x-client-verify x-client-ssl-cert x-ssl x-ssl-client-verify x-ssl-client-dn x-ssl-cert ssl-client-cert
    ssl-client-s-dn ssl-client-subject-dn ssl-client-verify ssl-protocol ssl-server-name x-tls-client-cert
    x-mtls-subject x-peer-certificate x-arr-clientcert x-amzn-mtls-clientcert x-amzn-tls-version
    x-amzn-mtls-clientcert-subject x-forwarded-client-cert x-forwarded-tls-client-cert wl-proxy-client-cert
    cf-client-cert-der-base64 x-cert x-certificate x-cert-subject cert-subject x-subject-dn x-dn`,
  'a workload or a task': `x-spiffe x-spiffe-id x-svid x-task x-task-id l5d-client-id x-workload-identity
    x-client-spiffe-id x-peer-spiffe-id x-spiffe-svid x-peer-identity x-source-workload x-source-identity
    x-caller x-calling-service x-peer-id dapr-app-id`,
  'the user who asks': `remote-user remote-groups remote-email remote-name x-remote-user x-remote-group
    x-remote-extra-scopes x-user x-username x-user-id x-user-email x-user-roles x-email x-groups x-roles
    x-userinfo x-auth-request-user x-auth-request-email x-auth-user x-auth-username x-auth-userid
    x-auth-groups x-auth-roles x-auth-subject x-authenticated-user x-authenticated-scope
    x-forwarded-user x-forwarded-access-token x-webauth-user x-sso-user x-authentik-username
    x-pomerium-jwt-assertion x-pomerium-claim-email x-vouch-user tailscale-user-login
    teleport-jwt-assertion x-consumer-username x-consumer-id x-credential-identifier
    x-anonymous-consumer x-id-token x-jwt-assertion x-jwt-payload x-endpoint-api-userinfo
    x-apigateway-api-userinfo x-goog-authenticated-user-email x-goog-authenticated-user-id
    x-goog-iap-jwt-assertion x-appengine-user-email x-appengine-inbound-appid x-amzn-oidc-identity
    x-amzn-oidc-data x-ms-client-principal x-ms-client-principal-name x-ms-token-aad-access-token
    cf-access-jwt-assertion cf-access-authenticated-user-email impersonate-user impersonate-group
    impersonate-extra-scopes x-authorization shib-session-id sm_user sm_universalid iv-user iv_groups
    oam_remote_user osso-user-dn sap_remote_user proxy-remote-user kubeflow-userid
    es-security-runas-user x-proxy-user x-proxy-roles x-on-behalf-of dapr-caller-app-id $wsru $WSRA
    x-vercel-oidc-token sudo x-real-user x-trusted-user x-verified-user x-okta-user x-ping-user
    x-siteminder-user x-krb5-user x-ntlm-user x-gssapi-user x-session-user x-request-user x-gateway-user
    x-edge-user x-oauth-subject x-rh-identity x-client-identity x-jupyterhub-user ct-remote-user smuser
    eppn affiliation persistent-id x-sub x-actor x-token-claims x-oauth2-groups`,
  'another URL, host or method': `x-host x-original-host x-forwarded-host x-forwarded-server x-forwarded-uri
    x-forwarded-prefix x-forwarded-method x-original-uri x-original-url x-original-method x-rewrite-url
    x-envoy-original-path x-waws-unencoded-url was-default-hostname disguised-host x-scheme x-proxy-url
    x-forwarded-proto x-original-proto x-forwarded-scheme front-end-https x-client-scheme request-uri
    script-name x-script-name x-http-host-override http-host x-override-url proxy x-target-host
    x-originalhost x-replaced-path x-matched-path x-accel-mapping x-sendfile-type x-middleware-subrequest
    x-invoke-path x-iis-windowsauthtoken ms-aspnetcore-token`,
  'the address of the client': `forwarded x-forwarded x-forwarded-for x-forwarded-port x-real-ip x-real-port
    x-client-ip client-ip x-cluster-client-ip true-client-ip cf-connecting-ip cf-connecting-ipv6
    cf-pseudo-ipv4 cf-ipcountry cf-visitor cf-ray cf-worker fastly-client-ip fastly-ssl x-azure-clientip
    x-azure-socketip x-azure-fdid x-fd-healthprobe x-originating-ip x-remote-addr x-remote-ip
    x-source-ip x-user-ip x-peer-ip x-proxyuser-ip wl-proxy-client-ip proxy-client-ip
    x-envoy-external-address x-envoy-internal x-envoy-peer-metadata fly-client-ip do-connecting-ip
    x-nf-client-connection-ip cloudfront-viewer-address cloudfront-viewer-country incap-client-ip
    ali-cdn-real-ip x-sucuri-clientip eo-connecting-ip x-original-forwarded-for x-vercel-forwarded-for
    x-vercel-ip-country x-vercel-proxied-for akamai-origin-hop x-akamai-edgescape x-appgw-trace-id
    x-client-port x-forward-for x-forwarder-for x-ip-address via-ip http-x-forwarded-for http-client-ip http-x-real-ip`,
};

const SPELLINGS: readonly ((name: string) => string)[] = [
  (name) => name,
  (name) => name.replaceAll('-', '_'),
  (name) => name.replaceAll('-', '.'),
];

for (const [about, list] of Object.entries(FAMILIES)) {
  t.test(`a claim about ${about} is known for one, in every spelling`, async (t) => {
    for (const name of names(list.toLowerCase())) {
      for (const spell of SPELLINGS) {
        t.match(kindOf(spell(name)), /^(?:claim|override)$/, spell(name));
        t.type(claimOf(foldField(spell(name))), 'string', spell(name));
      }
    }
  });
}

const PASSING = `x-hasura-role x-hasura-admin-secret x-agent-id x-tenant-id x-app-id x-service-name x-feature-id
  user-id x-peer x-target x-caller-reference x-app-version x-api-version x-session-id x-request-source
  dapr-api-token x-token-type x-app-token x-http-timeout x-internal x-slack-signature x-slack-retry-num
  x-gitlab-event x-gitlab-token x-ping x-matched x-certify accept accept-language authorization
  cookie user-agent content-type content-language x-api-key
  x-auth-token x-auth-key x-tenant x-request-id x-correlation-id traceparent tracestate baggage x-amz-date
  x-amz-content-sha256 x-amz-security-token x-amz-target x-amzn-trace-id x-goog-api-key
  x-goog-user-project x-goog-api-client x-goog-request-params x-goog-fieldmask x-cloud-trace-context
  openai-organization openai-beta anthropic-version anthropic-beta x-stainless-lang idempotency-key
  x-github-api-version private-token x-ms-version x-ms-date x-ms-blob-type x-ms-client-request-id
  x-requested-with x-csrf-token origin referer range if-match prefer dnt sec-fetch-site sec-ch-ua
  mcp-session-id mcp-protocol-version last-event-id grpc-timeout grpc-encoding x-grpc-web x-user-agent
  x-b3-traceid x-dry-run x-count cf-access-client-id cf-access-client-secret fastly-key cdn-loop
  x-vault-token x-vault-namespace x-consul-token dapr-api-token nomad-token x-shopify-access-token
  stripe-version stripe-account notion-version x-atlassian-token linear-version dd-api-key
  x-datadog-trace-id x-sentry-auth sentry-trace x-client-name x-client-version x-client-info apikey
  x-client-id client-id x-plex-token x-access-token x-server-timeout x-project-id x-account-id x-org-id
  x-vercel-protection-bypass x-environment x-rate-limit x-source x-origin x-priority task ssl host-x
  sentry-release http-referer http2-x http-title x-title via x-portkey-provider helicone-auth
  x-grafana-org-id x-influxdb-version`;

t.test('names that only look like claims pass: of APIs, of tracing, of clients', async (t) => {
  for (const name of names(PASSING)) t.equal(claimOf(foldField(name)), undefined, name);
});
