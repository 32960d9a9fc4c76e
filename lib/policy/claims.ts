/**
 * Fields in which a proxy in front of a server says who asks, for which URL, and from where. Servers take them on trust from whoever holds the connection, which is us:
 * from an agent they are claims, and stop here. They come in families, because every proxy and every cloud has names of its own and new ones come; names are in lower
 * case with `-` for all that is neither letter nor digit, and a leading `http-` (the CGI spelling) is taken off first.
 */

interface Family {
  /** For messages and docs: what such a field claims. */
  readonly about: string;
  readonly names: RegExp;
}

const CLOUDS = [
  'akamai',
  'appgw',
  'azure',
  'apigee',
  'appengine',
  'arr',
  'cdn',
  'envoy',
  'fastly',
  'fd',
  'istio',
  'nf',
  'original',
  'spiffe',
  'ssl',
  'svid',
  'task',
  'tls',
  'waws',
].join('|');

const WHO = '(?:user(?:name|info|principal)?|usr|email|groups?|roles?|principal|subject|identity|claims?|scopes|login)';
const WHERE = '(?:ip|addr|address|ips|addrs|port)';
const FROM =
  '(?:client|cluster|connecting|customer|forwarded|origin|originating|peer|proxied|proxyuser|real|remote|source|src|true|user|viewer)';

export const CLAIM_FAMILIES: readonly Family[] = Object.freeze([
  {
    about: 'the certificate that a client showed',
    names:
      /(?:^|-)(?:client|peer|verified)-?(?:ssl-?|tls-?|x509-?)?(?:certs?|certificates?|clientcert)(?:-|$)|^(?:x-)?clientcert$|(?:^|-)clientcert(?:-|$)|^(?:x-)?(?:ssl|tls|mtls|x509)(?:-|$)|-(?:mtls|tls|ssl)-(?:client|version|cipher)|^(?:x-)?client-(?:dn|s-dn|i-dn|verify|cn|subject|issuer|san|serial|fingerprint)(?:-|$)|^cf-cert-/,
  },
  {
    about: 'a workload or a task',
    names: /^(?:x-)?(?:spiffe|svid|task|workload|l5d|linkerd|istio)(?:-|$)/,
  },
  {
    about: 'the user who asks',
    names: new RegExp(
      [
        `^(?:x-)?(?:remote|forwarded|webauth|authenticated|auth-request|authentik|authelia|pomerium|sso|saml|oidc|ldap|iap|shib|shibboleth|teleport|tailscale|impersonate|consumer|credential)(?:-|$)`,
        `^(?:x-)?(?:auth|authn|logged-in|current|end|proxy|cas|kerberos|krb|gateway|endpoint-api|apigateway-api|on-behalf-of)-?${WHO}(?:-|$)`,
        `^x-${WHO}(?:-(?!agent$)|$)`,
        `^x-authorization$|^(?:x-)?(?:jwt-payload|jwt-assertion|jwt-claims?|id-token|anonymous-consumer|sudo|act-as|run-as|on-behalf-of)$`,
        `^x-(?:goog-(?:authenticated|iap)|amzn-(?:oidc|mtls|tls|cognito)|ms-(?:client-principal|token-))`,
        `^cf-access-(?!client-(?:id|secret)$)`,
      ].join('|'),
    ),
  },
  {
    about: 'another URL, host or method than the one that is asked for',
    names: new RegExp(
      [
        `^(?:x-)?(?:forwarded|original|rewrite|rewritten|override|disguised)(?:-|$)`,
        `^(?:x-)?(?:http-)?(?:host|server-name|vhost|virtual-host|upstream-host|backend-host|host-override|proxy-host|proxy-url|proxy|base-url|request-uri|script-name|path-info|was-default-hostname)$`,
        `-(?:forwarded|original|override)-(?:host|uri|url|path|method|proto|scheme|prefix)$`,
        `^front-end-https$|^x-(?:scheme|proto|protocol|https|url-scheme)$`,
      ].join('|'),
    ),
  },
  {
    about: 'the address of the client',
    names: new RegExp(
      [
        `(?:^|-)${FROM}-?(?:${WHERE}|for|host|proto)$`,
        `^(?:x-)?(?:ip|remote|forwarded-for|client|clientip|proxyuser-ip)$`,
        `^(?:wl-)?proxy-client-`,
        `^wl-proxy-`,
        `^(?:cf-(?:connecting|ip|ray$|visitor|worker|ew-)|fly-(?:client|forwarded|region)|do-connecting|ali-cdn|cdn-|cloudfront-|fastly-|akamai-|incap-|tencent-|eo-)`,
        `^x-vercel-(?:forwarded|ip|proxied)`,
      ].join('|'),
    ),
  },
  { about: 'what only the proxies of a platform say', names: new RegExp(`^x-(?:${CLOUDS})(?:-|$)`) },
]);

/** What a field claims, in words; undefined where it claims nothing. `folded` as `foldField` makes it. */
export function claimOf(folded: string): string | undefined {
  const name = folded.startsWith('http-') ? folded.slice('http-'.length) : folded;
  return CLAIM_FAMILIES.find(({ names }) => names.test(name))?.about;
}
