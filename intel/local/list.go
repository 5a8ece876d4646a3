package local

import (
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strconv"
	"strings"

	"iocpipe/extract"
	"iocpipe/intel"
)

var (
	errNoIndicator = errors.New("no indicator")
	errEmptyFile   = errors.New("hash of the empty file")
)

// emptyFile are the hashes of no bytes at all, with which lists accuse every empty file.
var emptyFile = map[string]bool{
	"d41d8cd98f00b204e9800998ecf8427e":                                 true,
	"da39a3ee5e6b4b0d3255bfef95601890afd80709":                         true,
	"e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855": true,
	"cf83e1357eefb8bdf1542850d66d8007d620e4050b5715dc83f4a921d36ce9ce" +
		"47d0d13c5d85f2b0ff8318d2877eec2f63b931bd47417a81a538327af927da3e": true,
}

// addListed adds one value of a plain list: an indicator, a network, *.domain, a URL, or host:port, defanged or not.
func (s *Store) addListed(value string, e *entry) error {
	err := s.addPlain(value, e)
	if errors.Is(err, errNoIndicator) {
		if plain := s.refang(value); plain != value {
			err = s.addPlain(plain, e)
		}
	}
	if err != nil {
		return fmt.Errorf("%w: %.60q", err, value)
	}
	return nil
}

// refang returns value with the first indicator in it as it is meant, not as it is written.
func (s *Store) refang(value string) string {
	if s.scanner == nil {
		s.scanner = &extract.Scanner{Defang: extract.DefangAll}
	}
	s.matches = s.scanner.Append(s.matches[:0], []byte(value))
	if len(s.matches) == 0 {
		return value
	}
	m := s.matches[0]
	return value[:m.Start] + strings.Clone(m.Value) + value[m.End:] // joined to nothing, it would be the scanner's own
}

func (s *Store) addPlain(value string, e *entry) error {
	if key, ok := extract.ParseKey(value); ok { // nearly always
		return s.addKey(key, e)
	}
	if name, ok := strings.CutPrefix(value, "*."); ok {
		return s.addBelow(name, e)
	}
	if strings.Contains(value, "/") {
		if p, err := netip.ParsePrefix(value); err == nil {
			return s.addNetwork(p, e)
		}
		return s.addURL(value, e)
	}
	key, ok := extract.ParseKey(withoutPort(value))
	if !ok {
		return errNoIndicator
	}
	return s.addKey(key, e)
}

func (s *Store) addKey(key extract.Key, e *entry) error {
	if key.Type.IsHash() && emptyFile[key.Value] {
		return errEmptyFile
	}
	s.addEntry(key, e)
	return nil
}

func (s *Store) addBelow(name string, e *entry) error {
	domain, ok := extract.ParseDomain(name)
	if !ok {
		return errNoIndicator
	}
	if s.below[domain] == nil {
		s.below[domain] = e
	}
	return nil
}

// addURL keeps a URL for its host: an address is malicious, a name, which may serve more than that, is related. Without
// a scheme only names have a path: behind an address it is a network gone wrong.
func (s *Store) addURL(value string, e *entry) error {
	host, scheme := hostOf(value)
	key, ok := extract.ParseKey(host)
	switch {
	case ok && key.Type == extract.Domain:
		s.relate(key, relation{via: extract.Key{Value: value}, kind: intel.ByURL, entry: e})
	case ok && key.Type == extract.IP && scheme:
		s.addEntry(key, e)
	default:
		return errNoIndicator
	}
	return nil
}

// hostOf returns the host of a URL and whether it has a scheme, which may be defanged. It asks less than url.Parse:
// lists of malicious URLs hold what browsers forgive.
func hostOf(url string) (host string, scheme bool) {
	host, rest, _ := strings.Cut(url, "/")
	if rest, scheme = strings.CutPrefix(rest, "/"); scheme {
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
