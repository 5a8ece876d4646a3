package extract

import (
	"encoding/binary"
	"net/netip"
	"strings"
)

// A Skip says why an indicator is not worth asking a network source about. [Worth] is the zero Skip.
type Skip uint8

// The reasons. What is Allowed is not annotated either; the others are when local intelligence names them.
const (
	Worth        Skip = iota
	SpecialRange      // in an IANA special-purpose registry: private, loopback, documentation, multicast …
	SpecialName       // a special-use or internal name: RFC 2606, 6761, 6762, 7686, 8375, 9476
	ReverseZone       // below in-addr.arpa or ip6.arpa
	Resolver          // a public DNS resolver
	Owned             // on a list of the user's own
	Allowed           // on an allow list
)

var skipTexts = [...]string{
	Worth:        "worth asking",
	SpecialRange: "special-range: private, reserved or documentation address",
	SpecialName:  "special-name: a special-use or internal name",
	ReverseZone:  "reverse-zone: the zone of an address",
	Resolver:     "resolver: a public DNS resolver",
	Owned:        "own: on the list of your own",
	Allowed:      "allowed: on an allow list",
}

// String returns the reason's name and what it says, as explain prints it.
func (s Skip) String() string { return skipTexts[s] }

// A Policy decides what is worth asking a network source about. Its zero value knows only what is public everywhere.
// It is safe for use by several goroutines as long as its lists are.
type Policy struct {
	Allow *List // values never asked nor annotated; may be nil
	Own   *List // domains and networks of the user: never asked, never annotated by relation; may be nil
}

// Skip says why key is not to be asked about. The allow list goes before everything else.
func (p *Policy) Skip(key Key) Skip {
	switch {
	case p.Allow != nil && p.Allow.Has(key):
		return Allowed
	case p.Own != nil && p.Own.Has(key):
		return Owned
	}
	switch key.Type {
	case IP:
		return skipAddr(key.Value)
	case Domain:
		return skipName(key.Value)
	case Email:
		return skipName(key.Value[strings.LastIndexByte(key.Value, '@')+1:])
	}
	return Worth
}

func skipAddr(value string) Skip {
	if octet, ok := firstOctet(value); ok {
		ranges := specialV4[octet]
		if len(ranges) == 0 {
			return Worth
		}
		v4 := parseV4(value)
		for _, r := range ranges {
			if v4&r.mask == r.base {
				return r.skip
			}
		}
		return Worth
	}
	addr, err := netip.ParseAddr(value)
	switch {
	case err != nil || isSpecial(addr):
		return SpecialRange
	case resolvers[addr]:
		return Resolver
	}
	return Worth
}

// firstOctet returns the first number of an IPv4 address in its normalised form. It returns false for one of IPv6.
func firstOctet(value string) (octet byte, ok bool) {
	for i := range min(len(value), len("255.")) {
		switch c := value[i]; {
		case c == '.':
			return octet, true
		case class[c]&isDigit == 0:
			return 0, false
		default:
			octet = octet*10 + c - '0'
		}
	}
	return 0, false
}

// parseV4 reads an IPv4 address in its normalised form.
func parseV4(value string) (v4 uint32) {
	octet := uint32(0)
	for i := range len(value) {
		if c := value[i]; c == '.' {
			v4, octet = v4<<8|octet, 0
		} else {
			octet = octet*10 + uint32(c-'0')
		}
	}
	return v4<<8 | octet
}

// A rangeV4 is a network or, with all bits in the mask, an address.
type rangeV4 struct {
	base, mask uint32
	skip       Skip
}

// specialV4 holds the special ranges and the resolvers by their first octet: most octets have none.
var specialV4 = func() (t [256][]rangeV4) {
	add := func(p netip.Prefix, skip Skip) {
		if !p.Addr().Is4() {
			return
		}
		first, last := p.Addr().As4(), lastAddr(p).As4()
		r := rangeV4{binary.BigEndian.Uint32(first[:]), ^uint32(0) << (32 - p.Bits()), skip}
		for octet := int(first[0]); octet <= int(last[0]); octet++ {
			t[octet] = append(t[octet], r)
		}
	}
	for _, p := range specialRanges {
		add(p, SpecialRange)
	}
	for addr := range resolvers {
		add(netip.PrefixFrom(addr, addr.BitLen()), Resolver)
	}
	return t
}()

// specialRanges are the entries of the IANA special-purpose registries for IPv4 and IPv6 that are not globally
// reachable or stand for no single host, with the multicast and reserved blocks. Of IPv6, only 2000::/3 is anything
// else. https://www.iana.org/assignments/iana-ipv4-special-registry
var specialRanges = prefixes("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16",
	"172.16.0.0/12",
	"192.0.0.0/24", "192.0.2.0/24", "192.31.196.0/24", "192.52.193.0/24", "192.88.99.0/24", "192.168.0.0/16",
	"192.175.48.0/24",
	"198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/4", "240.0.0.0/4",
	"2001::/23", "2001:db8::/32", "2002::/16", "2620:4f:8000::/48", "3fff::/20")

var globalUnicast = netip.MustParsePrefix("2000::/3")

func isSpecial(addr netip.Addr) bool {
	if addr.Is6() && !globalUnicast.Contains(addr) {
		return true
	}
	for _, p := range specialRanges {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}

// specialTLDs are top-level domains that exist on no public server, and are names all the same: RFC 2606, 6761, 6762,
// 7686, 8375 and 9476, ICANN's .internal, and what networks use without asking.
var specialTLDs = newWords("test", "example", "invalid", "localhost", "local", "onion", "alt", "internal",
	"intranet", "private", "corp", "home", "lan", "localdomain")

const maxSpecialTLD = len("localdomain")

func skipName(name string) Skip {
	dot := strings.LastIndexByte(name, '.')
	switch tld := name[dot+1:]; {
	case dot < 0, len(tld) <= maxSpecialTLD && specialTLDs.has([]byte(tld)), tld == "arpa" && under(name, "home.arpa"):
		return SpecialName
	case tld == "arpa":
		return ReverseZone
	case under(name[:dot], "example") && (tld == "com" || tld == "net" || tld == "org"):
		return SpecialName
	case len(name) <= maxResolverName && resolverNames.has([]byte(name)):
		return Resolver
	}
	return Worth
}

// under reports whether name is parent or stands below it.
func under(name, parent string) bool {
	return strings.HasSuffix(name, parent) && (len(name) == len(parent) || name[len(name)-len(parent)-1] == '.')
}

// resolvers are the public DNS resolvers that clients are pointed at; they are in every log and tell nothing.
var resolvers = func() map[netip.Addr]bool {
	m := make(map[netip.Addr]bool)
	for s := range strings.FieldsSeq(`
		1.1.1.1 1.0.0.1 1.1.1.2 1.0.0.2 1.1.1.3 1.0.0.3 2606:4700:4700::1111 2606:4700:4700::1001
		8.8.8.8 8.8.4.4 2001:4860:4860::8888 2001:4860:4860::8844
		9.9.9.9 9.9.9.10 9.9.9.11 149.112.112.112 149.112.112.10 149.112.112.11 2620:fe::fe 2620:fe::9
		208.67.222.222 208.67.220.220 208.67.222.123 208.67.220.123 2620:119:35::35 2620:119:53::53
		4.2.2.1 4.2.2.2 4.2.2.3 4.2.2.4 4.2.2.5 4.2.2.6 64.6.64.6 64.6.65.6 156.154.70.1 156.154.71.1
		94.140.14.14 94.140.15.15 94.140.14.15 94.140.15.16 2a10:50c0::ad1:ff 2a10:50c0::ad2:ff
		76.76.2.0 76.76.10.0 76.76.19.19 185.228.168.9 185.228.169.9 185.228.168.168 185.228.169.168
		77.88.8.8 77.88.8.1 77.88.8.88 77.88.8.2 77.88.8.7 77.88.8.3 8.26.56.26 8.20.247.20 84.200.69.80 84.200.70.40
		114.114.114.114 114.114.115.115 223.5.5.5 223.6.6.6 119.29.29.29 180.76.76.76 182.254.116.116 101.226.4.6
		195.46.39.39 195.46.39.40 80.80.80.80 80.80.81.81 74.82.42.42 91.239.100.100 89.233.43.71`) {
		m[netip.MustParseAddr(s)] = true
	}
	return m
}()

var resolverNames = newWords("dns.google", "dns.google.com", "one.one.one.one", "cloudflare-dns.com",
	"dns.quad9.net", "dns9.quad9.net", "doh.opendns.com", "dns.opendns.com", "resolver1.opendns.com",
	"resolver2.opendns.com", "dns.adguard-dns.com", "dns.adguard.com", "dns.nextdns.io", "doh.cleanbrowsing.org")

const maxResolverName = len("resolver1.opendns.com")
