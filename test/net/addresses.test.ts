import t from 'tap';
import { classOf, judgeAddress, judgeRange, type AddressRule } from '../../lib/net/addresses.ts';
import { SPECIAL_ROWS } from '../../lib/net/special-purpose.ts';

const STRICT: AddressRule = { loopback: false, private: false, cidrs: [], own: new Set() };
const LOOSE: AddressRule = {
  loopback: true,
  private: true,
  cidrs: ['10.0.0.0/8', 'fc00::/7'],
  own: new Set(),
};

/**
 * Block, first and last address, what it is, and what the addresses just before and just after it
 * are ('' where there is none): written out from the registries by hand, so that the table of the
 * code is held against something else than itself.
 */
const IPV4 = `
0.0.0.0/8          0.0.0.0          0.255.255.255    reserved    -           public
0.0.0.0/32         0.0.0.0          0.0.0.0          reserved    -           reserved
10.0.0.0/8         10.0.0.0         10.255.255.255   private     public      public
100.64.0.0/10      100.64.0.0       100.127.255.255  private     public      public
127.0.0.0/8        127.0.0.0        127.255.255.255  loopback    public      public
169.254.0.0/16     169.254.0.0      169.254.255.255  link-local  public      public
172.16.0.0/12      172.16.0.0       172.31.255.255   private     public      public
192.0.0.0/24       192.0.0.0        192.0.0.255      reserved    public      public
192.0.0.0/29       192.0.0.0        192.0.0.7        reserved    public      reserved
192.0.0.8/32       192.0.0.8        192.0.0.8        reserved    reserved    reserved
192.0.0.9/32       192.0.0.9        192.0.0.9        reserved    reserved    reserved
192.0.0.10/32      192.0.0.10       192.0.0.10       reserved    reserved    reserved
192.0.0.170/32     192.0.0.170      192.0.0.170      reserved    reserved    reserved
192.0.0.171/32     192.0.0.171      192.0.0.171      reserved    reserved    reserved
192.0.2.0/24       192.0.2.0        192.0.2.255      reserved    public      public
192.31.196.0/24    192.31.196.0     192.31.196.255   reserved    public      public
192.52.193.0/24    192.52.193.0     192.52.193.255   reserved    public      public
192.88.99.0/24     192.88.99.0      192.88.99.255    reserved    public      public
192.168.0.0/16     192.168.0.0      192.168.255.255  private     public      public
192.175.48.0/24    192.175.48.0     192.175.48.255   reserved    public      public
198.18.0.0/15      198.18.0.0       198.19.255.255   reserved    public      public
198.51.100.0/24    198.51.100.0     198.51.100.255   reserved    public      public
203.0.113.0/24     203.0.113.0      203.0.113.255    reserved    public      public
240.0.0.0/4        240.0.0.0        255.255.255.255  reserved    reserved    -
255.255.255.255/32 255.255.255.255  255.255.255.255  reserved    reserved    -`;

const IPV6 = `
::1/128           ::1              ::1                                     loopback   reserved    embeds
::/128            ::               ::                                      reserved   -           loopback
::ffff:0:0/96     ::ffff:0:0       ::ffff:ffff:ffff                        embeds     unallocated unallocated
64:ff9b::/96      64:ff9b::        64:ff9b::ffff:ffff                      embeds     unallocated unallocated
64:ff9b:1::/48    64:ff9b:1::      64:ff9b:1:ffff:ffff:ffff:ffff:ffff      embeds     unallocated unallocated
100::/64          100::            100::ffff:ffff:ffff:ffff                reserved   unallocated reserved
100:0:0:1::/64    100:0:0:1::      100:0:0:1:ffff:ffff:ffff:ffff           reserved   reserved    unallocated
2001::/23         2001::           2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff  *          public      public
2001::/32         2001::           2001:0:ffff:ffff:ffff:ffff:ffff:ffff    embeds     public      reserved
2001:1::1/128     2001:1::1        2001:1::1                               reserved   reserved    reserved
2001:1::2/128     2001:1::2        2001:1::2                               reserved   reserved    reserved
2001:1::3/128     2001:1::3        2001:1::3                               reserved   reserved    reserved
2001:2::/48       2001:2::         2001:2:0:ffff:ffff:ffff:ffff:ffff       reserved   reserved    reserved
2001:3::/32       2001:3::         2001:3:ffff:ffff:ffff:ffff:ffff:ffff    reserved   reserved    reserved
2001:4:112::/48   2001:4:112::     2001:4:112:ffff:ffff:ffff:ffff:ffff     reserved   reserved    reserved
2001:10::/28      2001:10::        2001:1f:ffff:ffff:ffff:ffff:ffff:ffff   reserved   reserved    reserved
2001:20::/28      2001:20::        2001:2f:ffff:ffff:ffff:ffff:ffff:ffff   reserved   reserved    reserved
2001:30::/28      2001:30::        2001:3f:ffff:ffff:ffff:ffff:ffff:ffff   reserved   reserved    reserved
2001:db8::/32     2001:db8::       2001:db8:ffff:ffff:ffff:ffff:ffff:ffff  reserved   public      public
2002::/16         2002::           2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff embeds     public      public
2620:4f:8000::/48 2620:4f:8000::   2620:4f:8000:ffff:ffff:ffff:ffff:ffff   reserved   public      public
3fff::/20         3fff::           3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff  reserved   public      public
5f00::/16         5f00::           5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff reserved   unallocated unallocated
fc00::/7          fc00::           fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff private    unallocated unallocated
fe80::/10         fe80::           febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff link-local unallocated reserved`;

const OTHER = `
224.0.0.0/4       224.0.0.0        239.255.255.255                         reserved   public      reserved
fec0::/10         fec0::           feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff reserved   link-local  reserved
ff00::/8          ff00::           ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff reserved   reserved    -
::/96             ::2              ::ffff:ffff                             embeds     loopback    unallocated
::ffff:0:0:0/96   ::ffff:0:0:0     ::ffff:0:ffff:ffff                      embeds     unallocated unallocated
fd00:ec2::/32     fd00:ec2::       fd00:ec2:ffff:ffff:ffff:ffff:ffff:ffff  metadata   private     private`;

const toNumber = (text: string): bigint => {
  if (!text.includes(':'))
    return text.split('.').reduce((sum, part) => sum * 256n + BigInt(part), 0n);
  const [head = '', tail] = text.split('::');
  const left = head === '' ? [] : head.split(':');
  const right = tail === undefined || tail === '' ? [] : tail.split(':');
  const zeros = Array.from(
    { length: tail === undefined ? 0 : 8 - left.length - right.length },
    () => '0',
  );
  return [...left, ...zeros, ...right].reduce(
    (sum, part) => sum * 65536n + BigInt(`0x${part}`),
    0n,
  );
};
const toText = (value: bigint, family6: boolean): string =>
  family6
    ? Array.from({ length: 8 }, (_, i) =>
        ((value >> BigInt(112 - 16 * i)) & 0xffffn).toString(16),
      ).join(':')
    : Array.from({ length: 4 }, (_, i) => String((value >> BigInt(24 - 8 * i)) & 0xffn)).join('.');

const rows = [IPV4, IPV6, OTHER].flatMap((text) =>
  text
    .trim()
    .split('\n')
    .map((line) => line.split(/ +/)),
);

for (const [block = '', first = '', last = '', kind, before, after] of rows) {
  t.test(
    `${block} from its first to its last address, and its neighbours (S2, S3, S4)`,
    async (t) => {
      const six = block.includes(':');
      if (kind !== '*') {
        t.equal(classOf(first), kind, `first ${first}`);
        t.equal(classOf(last), kind, `last ${last}`);
        const span = toNumber(last) - toNumber(first) + 1n;
        // Rows that the test enters at ::2 leave :: and ::1 to rows of their own.
        const length = BigInt(block.split('/')[1] ?? '');
        t.equal(
          block === '::/96' ? span + 2n : span,
          1n << ((six ? 128n : 32n) - length),
          'the block is as wide as its prefix',
        );
      }
      if (before !== '-')
        t.equal(classOf(toText(toNumber(first) - 1n, six)), before, 'just before');
      if (after !== '-') t.equal(classOf(toText(toNumber(last) + 1n, six)), after, 'just after');
      for (const address of kind === '*' ? [] : [first, last]) {
        const liftable = kind === 'loopback' || kind === 'private';
        t.match(judgeAddress(address, STRICT), /\S/, `${address} is refused by default`);
        t.equal(
          judgeAddress(address, LOOSE) === undefined,
          liftable,
          `${address} with everything lifted`,
        );
      }
    },
  );
}

t.test('the table of the code has the rows of the registries and no others (S3)', async (t) => {
  const listed = (text: string): string[] =>
    text
      .trim()
      .split('\n')
      .map((line) => line.split(/ +/)[0] ?? '');
  const ours = (source: string): string[] =>
    SPECIAL_ROWS.filter((row) => row.source === source).map(({ range }) => range.text);
  t.same(ours('IANA IPv4').sort(), listed(IPV4).sort());
  t.same(ours('IANA IPv6').map(toPlain).sort(), listed(IPV6).map(toPlain).sort());
});

function toPlain(range: string): string {
  const [base = '', length = ''] = range.split('/');
  return `${toNumber(base).toString(16)}/${length}`;
}

t.test('metadata services are never dialled, whatever was written (S2)', async (t) => {
  for (const address of [
    '169.254.169.254',
    '169.254.170.2',
    '168.63.129.16',
    '100.100.100.200',
    '192.0.0.192',
    'fd00:ec2::254',
    'fd00:ec2::23',
    'fd20:ce::254',
    'fd00:c1::a9fe:a9fe',
  ]) {
    const everything = {
      ...LOOSE,
      cidrs: [`${address}/${address.includes(':') ? 128 : 32}`, '100.64.0.0/10', 'fc00::/7'],
    };
    t.match(judgeAddress(address, everything), /metadata services are never dialled/, address);
  }
  for (const address of ['168.63.129.15', '168.63.129.17'])
    t.equal(judgeAddress(address, STRICT), undefined, address);
});

t.test('an IPv4 address in IPv6 clothes is refused, whatever it carries (S4)', async (t) => {
  for (const inner of ['169.254.169.254', '127.0.0.1', '10.0.0.1', '8.8.8.8']) {
    const hex = inner.split('.').map((part) => Number(part).toString(16).padStart(2, '0'));
    const pair = `${hex[0]}${hex[1]}:${hex[2]}${hex[3]}`;
    for (const address of [
      `::ffff:${inner}`,
      `::ffff:${pair}`,
      `::${inner}`,
      `::ffff:0:${inner}`,
      `64:ff9b::${inner}`,
      `64:ff9b:1::${inner}`,
      `2002:${pair}::1`,
      `2001::${inner}`,
      `fd12::5efe:${inner}`,
      `2a00:1450:4001:81b:0:5efe:${inner}`,
      `2a00:1450:4001:81b:200:5efe:${inner}`,
    ]) {
      t.match(judgeAddress(address, LOOSE), /carry an IPv4 address/, address);
    }
    t.equal(classOf(`fe80::5efe:${inner}`), 'link-local');
  }
});

t.test('what is not exactly one address is refused (S1, S5)', async (t) => {
  for (const text of [
    '',
    'localhost',
    '127.1',
    '0177.0.0.1',
    '2130706433',
    '0x7f000001',
    '8.8.8.8 ',
    '8.8.8.08',
    '[::1]',
    '::1%lo',
    'fe80::1%eth0',
    '8.8.8.8/32',
  ]) {
    t.equal(judgeAddress(text, LOOSE), 'it is not an IP address', JSON.stringify(text));
  }
});

t.test('loopback needs the written literal; private needs proof or a range (S2)', async (t) => {
  const judged = (address: string, rule: Partial<AddressRule>): string | undefined =>
    judgeAddress(address, { ...STRICT, ...rule });
  t.equal(judged('127.0.0.1', { loopback: true }), undefined);
  t.match(
    judged('127.0.0.1', { private: true, cidrs: ['127.0.0.0/8', '0.0.0.0/0'] }),
    /writes the very address/,
  );
  t.equal(judged('10.1.2.3', { private: true }), undefined);
  t.match(judged('10.1.2.3', { loopback: true }), /mode mtls, or a range in upstream.cidrs/);
  t.equal(judged('10.1.2.3', { cidrs: ['192.168.0.0/16', '10.1.0.0/16'] }), undefined);
  t.match(judged('10.2.0.0', { cidrs: ['10.1.0.0/16'] }), /private/);
  t.equal(judged('fd12::1', { cidrs: ['fd12::/16'] }), undefined);
  t.match(
    judged('198.18.0.1', { private: true, cidrs: ['198.18.0.0/15'] }),
    /never dialled \(Benchmarking/,
  );
  t.equal(judged('8.8.8.8', {}), undefined);
  t.equal(judged('2a00:1450:4001:81b::200e', {}), undefined);
});

t.test('our own addresses are refused, however they are spelled (S11)', async (t) => {
  const own = { ...LOOSE, own: new Set(['10.0.0.9', '2a00::9']) };
  t.match(judgeAddress('10.0.0.9', own), /address of this sidecar/);
  t.match(judgeAddress('2A00:0::9', own), /address of this sidecar/);
  t.equal(judgeAddress('10.0.0.10', own), undefined);
});

t.test('a range of a document must lie in one private block', async (t) => {
  for (const range of [
    '10.0.0.0/8',
    '10.96.0.0/12',
    '192.168.1.7/32',
    '100.64.0.0/10',
    'fd00::/8',
    'fc00::/7',
  ])
    t.equal(judgeRange(range), undefined, range);
  t.match(judgeRange('0.0.0.0/0'), /not inside one private block/);
  t.match(judgeRange('8.8.8.0/24'), /not inside one private block/);
  t.match(judgeRange('10.0.0.0/7'), /not inside one private block/);
  t.match(judgeRange('127.0.0.0/8'), /Loopback\), which is never dialled|never dialled/);
  t.match(judgeRange('169.254.169.254/32'), /never dialled/);
  t.match(judgeRange('fe80::/64'), /never dialled/);
  t.match(
    judgeRange('100.100.100.200/32'),
    /Alibaba Cloud metadata service\), which is never dialled/,
  );
  for (const range of [
    '10.0.0.1/8',
    '10.0.0.0',
    '10.0.0.0/33',
    '10.0.0.0/08',
    '10.0.0.0/-1',
    'x/8',
    '/8',
    '10.0.0.0/8/8',
    'fc00::/129',
  ]) {
    t.match(judgeRange(range), /is not address\/length/, range);
  }
});
