/**
 * Fields in which a proxy in front of a server says who asks, for which URL, and from where.
 * Servers take them on trust from whoever holds the connection, which is us: from an agent they are
 * claims, and stop here. They come in families, because every proxy and every cloud has names of
 * its own and new ones come. Names are in lower case with `-` for all that is neither letter nor
 * digit; a leading `http-` (the CGI spelling) is taken off first.
 */

interface Family {
  /** What such a field is about. */
  readonly about: string;
  readonly names: RegExp;
}

const any = (words: string): string => `(?:${words.trim().split(/\s+/).join('|')})`;
const family = (about: string, ...names: readonly string[]): Family =>
  Object.freeze({ about, names: new RegExp(names.join('|')) });

const CERTIFICATE = any('certs? certificates? clientcert');
const OF_CERTIFICATE = any('dn s-dn i-dn verify cn subject issuer san serial fingerprint');
const WHO = any(
  'user username userid userinfo userprincipal usr email groups? roles? principal subject ' +
    'identity claims? scopes login',
);
/** Products that stand in front of servers and log users in; a name of theirs begins so. */
const LOGINS = any(`remote forwarded webauth authenticated auth-request authentik authelia pomerium
  vouch sso saml oidc ldap iap shib shibboleth teleport tailscale impersonate consumer credential
  kubeflow sm iv oam osso ct-remote sap-remote ext-authz dapr-caller
  opendistro-security-impersonate`);
const BY_LOGIN = any(`auth authn logged-in current end proxy cas kerberos krb gateway endpoint-api
  apigateway-api on-behalf-of es-security-runas`);
/** Who vouches for the user, or what kind of user it is. */
const VOUCHED = any(`real trusted verified internal external upstream target session request
  okta ping siteminder krb5 kerberos ntlm gssapi nginx grafana kong tyk okteto coder jupyterhub
  openshift rh gateway edge front-end app oauth oauth2 openid token api authz boundary zt slack gitlab proxied http`);
const FROM = any(`client cluster connecting customer forwarded origin originating peer proxied
  proxyuser real remote source src true user viewer`);
const WHERE = any('ip ips ipv6 addr addrs address port');
/** Clouds and content networks; of these every field says something about the client or the way. */
const NETWORKS = any(`cf- fly-client fly-forwarded fly-region do-connecting ali-cdn ali-swift cdn-
  cloudfront- fastly- akamai- incap- tencent- eo-`);
/** Fields of theirs that agents send on purpose: credentials and settings of their APIs. */
const THEIR_APIS = any(`cf-access-client-id cf-access-client-secret fastly-key fastly-soft-purge
  fastly-debug cdn-loop`);
/**
 * Also what servers take from the proxy in front of them (Rack::Sendfile) or from themselves
 * (Next.js).
 */
const PLATFORMS =
  any(`accel akamai apigee appengine appgw arr azure cdn envoy fastly fd iis invoke istio
  middleware nf original sendfile spiffe ssl svid task tls waws f5 ns zuul`);

const CLAIM_FAMILIES: readonly Family[] = Object.freeze([
  family(
    'the certificate that a client showed',
    `(?:^|-)${any('client peer verified')}-?${any('ssl-? tls-? x509-?')}?${CERTIFICATE}(?:-|$)`,
    `(?:^|-)clientcert(?:-|$)`,
    `^(?:x-)?${any('ssl tls mtls x509')}-|^x-${any('ssl tls mtls x509')}$`,
    `-${any('mtls tls ssl')}-${any('client version cipher')}`,
    `^(?:x-)?client-${OF_CERTIFICATE}(?:-|$)`,
    `^x-${CERTIFICATE}(?:-|$)|^(?:x-)?cert-${OF_CERTIFICATE}(?:-|$)|^x-(?:subject-|issuer-)?dn$`,
  ),
  family(
    'a workload or a task',
    `^(?:x-)?${any('spiffe svid task workload l5d linkerd')}-`,
    `^x-${any('spiffe svid task workload')}$`,
    `(?:^|-)${any('spiffe svid')}(?:-|$)`,
    `^x-${any('peer source caller calling downstream')}-` +
      `${any('id identity principal workload service namespace app')}(?:-|$)`,
    `^(?:x-)?${any('dapr-app-id caller')}$`,
  ),
  family(
    'the user who asks',
    `^(?:x-)?(?:proxy-)?${LOGINS}(?:-|$)`,
    `^(?:x-)?${BY_LOGIN}-?${WHO}(?:-|$)`,
    `^x-${WHO}(?:-(?!agent$)|$)`,
    `^x-${VOUCHED}-${WHO}(?:-|$)|^x-${any('sub actor')}$|^x-client-identity$`,
    `^${any('eppn affiliation persistent-id smuser')}$`,
    `^x-authorization$`,
    `^(?:x-)?${any(`jwt-payload jwt-assertion jwt-claims? id-token anonymous-consumer sudo act-as
      run-as on-behalf-of`)}$`,
    `^x-${any(`goog-authenticated goog-iap amzn-oidc amzn-mtls amzn-tls amzn-cognito
      ms-client-principal ms-token vercel-oidc`)}(?:-|$)`,
    // The plug-in of WebSphere says by these who was authenticated where.
    `^-ws${any('ra rh ru at sc is cc pr sn sp si cs')}$`,
  ),
  family(
    'another URL, host or method than the one that is asked for',
    `^(?:x-)?${any('forwarded original rewrite rewritten replaced override disguised')}(?:-|$)`,
    `^(?:x-)?${any(`host server-name vhost virtual-host upstream-host backend-host target-host originalhost
      host-override proxy-host proxy-url proxy base-url request-uri script-name path-info
      matched-path was-default-hostname`)}$`,
    `-${any('forwarded original override')}-${any('host uri url path method proto scheme prefix')}$`,
    `^front-end-https$|^(?:x-)?${any('url-scheme client-scheme')}$|^x-${any('scheme proto protocol https')}$`,
  ),
  family(
    'the address of the client',
    `(?:^|-)${FROM}-?(?:${WHERE}|for|host|proto)$`,
    `^(?:x-)?${any('clientip proxyuser-ip via-ip')}$|^x-${any('ip ip-address remote client')}$`,
    `^(?:x-)?forward(?:er)?-for$`,
    `^(?:wl-)?proxy-client-|^wl-proxy-`,
    `^(?!${THEIR_APIS}$)${NETWORKS}`,
    `^x-vercel-${any('forwarded ip proxied')}`,
  ),
  family('what only the proxies of a platform say', `^x-${PLATFORMS}(?:-|$)|^ms-aspnetcore-`),
]);

/**
 * What a field claims, in words; undefined where it claims nothing. `folded` as `foldField` makes
 * it.
 */
export function claimOf(folded: string): string | undefined {
  const name = folded.replace(/^(?:x-)?http-/, '');
  return CLAIM_FAMILIES.find(({ names }) => names.test(name))?.about;
}
