package format

import (
	"errors"
	"net"
	"net/netip"
	"strconv"
	"strings"
	"sync"

	"iocpipe/extract"
	"iocpipe/intel"
)

var (
	errEmpty       = errors.New("empty value")
	errNoIndicator = errors.New("no indicator")
	errSeveral     = errors.New("more than one value")
	errTooBroad    = errors.New("network is too broad")
	errEmptyFile   = errors.New("hash of the empty file")
	errPath        = unwanted{errors.New("a path alone, without a host")}
)

// emptyFile are the hashes of no bytes at all, with which lists accuse every empty file.
var emptyFile = map[string]bool{
	"d41d8cd98f00b204e9800998ecf8427e":                                 true,
	"da39a3ee5e6b4b0d3255bfef95601890afd80709":                         true,
	"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855": true,
	"cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce" +
		"47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e": true,
}

// The shortest networks that are taken: what is wider is a slip, and would call a good part of the Internet malicious.
const (
	shortestIPv4 = 8
	shortestIPv6 = 16
)

// ParseSubject reads one value as lists write it, defanged or not: an indicator, a network, *.domain, a URL, or
// host:port, of which the host is taken.
func ParseSubject(value string) (intel.Subject, error) {
	value = strings.TrimSpace(value)
	subject, err := parsePlain(value)
	if err != errNoIndicator {
		return subject, err
	}
	if plain := refang(value); plain != value {
		if subject, err = parsePlain(plain); err == nil {
			return subject, nil
		}
	}
	return intel.Subject{}, whyNot(value)
}

// whyNot returns what is wrong with a value that holds no indicator.
func whyNot(value string) error {
	if value[0] == '/' && len(value) > 1 && value[1] != '/' {
		return errPath
	}
	words := strings.FieldsFunc(value, func(r rune) bool { return strings.ContainsRune(" \t,;|", r) })
	if len(words) < 2 {
		return errNoIndicator
	}
	for _, word := range words[:2] {
		if _, err := parsePlain(refang(word)); err != nil {
			return errNoIndicator
		}
	}
	return errSeveral
}

// refang returns value with the first indicator in it as it is meant, not as it is written.
func refang(value string) string {
	scanner := scanners.Get().(*extract.Scanner)
	defer scanners.Put(scanner)
	value = strings.Replace(value, "*[.]", "*.", 1)
	if matches := scanner.Append(nil, []byte(value)); len(matches) > 0 {
		m := matches[0]
		value = value[:m.Start] + strings.Clone(m.Value) + value[m.End:] // joined to nothing, it would be the scanner's own
	}
	return value
}

// scanners read defanged values; one for each value would take 40 KB.
var scanners = sync.Pool{New: func() any { return &extract.Scanner{Defang: extract.DefangAll} }}

// schemes are the schemes that people defang.
var schemes = strings.NewReplacer("hxxp", "http", "hXXp", "http", "HXXP", "http", "fxp", "ftp", "[", "", "]", "")

// plainURL returns a URL with its scheme as it is meant; the marks around "://" are those of defanging.
func plainURL(url string) string {
	scheme, rest, ok := strings.Cut(url, "//")
	if !ok || len(scheme) > len("[hxxps[:]") {
		return url
	}
	return schemes.Replace(scheme) + "//" + strings.TrimPrefix(rest, "]")
}

func parsePlain(value string) (intel.Subject, error) {
	if value == "" {
		return intel.Subject{}, errEmpty
	}
	if key, ok := extract.ParseKey(value); ok { // nearly always
		return subjectOf(key)
	}
	if name, ok := strings.CutPrefix(value, "*."); ok {
		domain, ok := extract.ParseDomain(name)
		if !ok {
			return intel.Subject{}, errNoIndicator
		}
		return intel.Subject{Key: extract.Key{Type: extract.Domain, Value: domain}, Below: true}, nil
	}
	if strings.Contains(value, "/") {
		if p, err := netip.ParsePrefix(value); err == nil {
			return parseNetwork(p)
		}
		return parseURL(value)
	}
	key, ok := extract.ParseKey(withoutPort(value))
	if !ok {
		return intel.Subject{}, errNoIndicator
	}
	return subjectOf(key)
}

func subjectOf(key extract.Key) (intel.Subject, error) {
	if key.Type.IsHash() && emptyFile[key.Value] {
		return intel.Subject{}, errEmptyFile
	}
	return intel.Subject{Key: key}, nil
}

func parseNetwork(p netip.Prefix) (intel.Subject, error) {
	if p.Addr().Is4In6() && p.Bits() >= 96 {
		p = netip.PrefixFrom(p.Addr().Unmap(), p.Bits()-96)
	}
	shortest := shortestIPv6
	if p.Addr().Is4() {
		shortest = shortestIPv4
	}
	if p.Bits() < shortest {
		return intel.Subject{}, errTooBroad
	}
	return intel.Subject{Net: p.Masked()}, nil
}

// parseURL keeps a URL for its host. Without a scheme only names have a path: behind an address it is a network gone
// wrong.
func parseURL(value string) (intel.Subject, error) {
	host, scheme := hostOf(value)
	key, ok := extract.ParseKey(host)
	if !ok || key.Type != extract.Domain && (key.Type != extract.IP || !scheme) {
		return intel.Subject{}, errNoIndicator
	}
	return intel.Subject{Key: key, URL: plainURL(value)}, nil
}

// hostOf returns the host of a URL and whether it has a scheme, which may be defanged. It asks less than url.Parse:
// lists of malicious URLs hold what browsers forgive.
func hostOf(url string) (host string, scheme bool) {
	host, rest, _ := strings.Cut(url, "/")
	if scheme = strings.HasPrefix(rest, "/") && (host == "" || strings.HasSuffix(strings.TrimRight(host, "[]"), ":")); scheme {
		rest = rest[1:]
		host = strings.TrimPrefix(rest, "]") // of [://]
		if end := strings.IndexAny(host, `/?#\`); end >= 0 {
			host = host[:end]
		}
		host = host[strings.LastIndexByte(host, '@')+1:]
	}
	return withoutPort(host), scheme
}

// withoutPort returns host without the port and the brackets that may be around an address.
func withoutPort(host string) string {
	if name, port, err := net.SplitHostPort(host); err == nil {
		if _, err := strconv.ParseUint(port, 10, 16); err == nil {
			return name
		}
	}
	if inner, ok := strings.CutPrefix(host, "["); ok {
		host = strings.TrimSuffix(inner, "]")
	}
	return host
}
