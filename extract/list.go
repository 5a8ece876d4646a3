package extract

import (
	"bufio"
	"bytes"
	"cmp"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"regexp"
	"strings"
	"unicode/utf8"
)

// A List is a set of values that a user allows or owns: addresses and networks, domains with all below, e-mail
// addresses and hashes. The nil List is empty. A List is safe for use by several goroutines once it is filled.
type List struct {
	below map[string]struct{} // domains that cover themselves and all below
	exact map[string]struct{} // domains that cover themselves, e-mail addresses, hashes
	v4    ranges[addressV4]   // addresses and networks
	v6    ranges[addressV6]

	// Loose says whether the substring and regex types of MISP warninglists are taken; they are slow and match more
	// than one expects.
	Loose      bool
	substrings []string
	patterns   []*regexp.Regexp

	also *List // see With
}

// With returns a list that covers what l or other covers, which may be nil; they must not change any more.
func (l *List) With(other *List) *List {
	if l == nil || other == nil {
		return cmp.Or(l, other)
	}
	both := *l
	both.also = l.also.With(other)
	return &both
}

// Has reports whether the list covers key.
func (l *List) Has(key Key) bool {
	return l != nil && (l.has(key) || l.also.Has(key))
}

func (l *List) has(key Key) bool {
	switch key.Type {
	case IP:
		return l.hasAddr(key.Value)
	case Email:
		if _, ok := l.exact[key.Value]; ok {
			return true
		}
		return l.hasDomain(key.Value[strings.LastIndexByte(key.Value, '@')+1:]) || l.hasLoose(key.Value)
	case Domain:
		return l.hasDomain(key.Value) || l.hasLoose(key.Value)
	}
	_, ok := l.exact[key.Value]
	return ok
}

func (l *List) hasDomain(name string) bool {
	if _, ok := l.exact[name]; ok {
		return true
	}
	for len(l.below) > 0 {
		if _, ok := l.below[name]; ok {
			return true
		}
		dot := strings.IndexByte(name, '.')
		if dot < 0 {
			break
		}
		name = name[dot+1:]
	}
	return false
}

func (l *List) hasAddr(value string) bool {
	return l.inRange(value) || l.hasLoose(value)
}

func (l *List) inRange(value string) bool {
	if _, ok := firstOctet(value); ok {
		return l.v4.has(addressV4(parseV4(value)))
	}
	if len(l.v6.list) == 0 {
		return false
	}
	addr, err := netip.ParseAddr(value)
	return err == nil && l.v6.has(addr.As16())
}

func (l *List) hasLoose(value string) bool {
	for _, s := range l.substrings {
		if strings.Contains(value, s) {
			return true
		}
	}
	for _, p := range l.patterns {
		if p.MatchString(value) {
			return true
		}
	}
	return false
}

// Add adds one value as a list spells it: an address, a network, a domain that covers all below it (one with '=' in
// front covers itself alone, one with "*." or '.' in front means the same as without), an e-mail address or a hash.
func (l *List) Add(value string) error {
	defer l.join()
	return l.add(value)
}

// add is Add without the order of networks, which Has needs.
func (l *List) add(value string) error {
	l.init()
	value = strings.TrimSpace(value)
	if strings.IndexByte(value, '/') > 0 {
		if p, err := netip.ParsePrefix(value); err == nil {
			l.addPrefix(p)
			return nil
		}
	}
	name, alone := strings.CutPrefix(value, "=")
	if strings.IndexByte(name, '@') < 0 {
		name = strings.TrimPrefix(strings.TrimPrefix(name, "*"), ".")
	}
	key, ok := ParseKey(name)
	switch {
	case !ok && isTopLevel(name):
		l.below[strings.ToLower(name)] = struct{}{}
	case !ok:
		return fmt.Errorf("%q is no address, network, domain, e-mail address or hash", value)
	case key.Type == IP:
		addr := netip.MustParseAddr(key.Value)
		l.addPrefix(netip.PrefixFrom(addr, addr.BitLen()))
	case key.Type == Domain && !alone:
		l.below[key.Value] = struct{}{}
	default:
		l.exact[key.Value] = struct{}{}
	}
	return nil
}

// isTopLevel reports whether name is one label, such as corp.
func isTopLevel(name string) bool {
	return name != "" && len(name) <= maxLabel && !strings.ContainsFunc(name, func(r rune) bool {
		return r >= utf8.RuneSelf || r == '.' || class[r]&inWord == 0
	})
}

func (l *List) init() {
	if l.below == nil {
		l.below, l.exact = make(map[string]struct{}), make(map[string]struct{})
	}
}

func (l *List) addPrefix(p netip.Prefix) {
	if p.Addr().Is4In6() {
		p = netip.PrefixFrom(p.Addr().Unmap(), max(p.Bits()-96, 0))
	}
	p = p.Masked()
	if first, last := p.Addr(), lastAddr(p); first.Is4() {
		l.v4.add(newAddressV4(first), newAddressV4(last))
	} else {
		l.v6.add(first.As16(), last.As16())
	}
}

// lastAddr returns the last address of p.
func lastAddr(p netip.Prefix) netip.Addr {
	b := p.Addr().AsSlice()
	for i := p.Bits(); i < len(b)*8; i++ {
		b[i/8] |= 0x80 >> (i % 8)
	}
	addr, _ := netip.AddrFromSlice(b)
	return addr
}

// join makes the networks that were added ready for Has.
func (l *List) join() {
	l.v4.join()
	l.v6.join()
}

// Len returns how many entries the list has; networks that overlap count once.
func (l *List) Len() int {
	if l == nil {
		return 0
	}
	return len(l.below) + len(l.exact) + len(l.v4.list) + len(l.v6.list) + len(l.substrings) + len(l.patterns) + l.also.Len()
}

// LoadFile adds the values of a file, plain or gzip: one per line with # or ; comments, or a MISP warninglist. Its error names the
// file and the first lines that are no values; the others have been added.
func (l *List) LoadFile(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := l.Load(f); err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return nil
}

// Load is [List.LoadFile] for any reader.
func (l *List) Load(r io.Reader) error {
	l.init()
	defer l.join()
	b := bufio.NewReaderSize(r, 64<<10)
	if head, _ := b.Peek(2); string(head) == "\x1f\x8b" {
		unpacked, err := gzip.NewReader(b)
		if err != nil {
			return err
		}
		b = bufio.NewReaderSize(unpacked, 64<<10)
	}
	if head, _ := b.Peek(512); bytes.HasPrefix(bytes.TrimLeft(head, "\ufeff \t\r\n"), []byte("{")) {
		return l.loadWarninglist(b)
	}
	var refused []error
	const mostErrors = 3
	for n := 1; ; n++ {
		line, err := b.ReadString('\n')
		if i := strings.IndexAny(line, "#;"); i >= 0 {
			line = line[:i]
		}
		if value := strings.TrimSpace(line); value != "" {
			if err := l.add(value); err != nil && len(refused) < mostErrors {
				refused = append(refused, fmt.Errorf("line %d: %w", n, err))
			}
		}
		if err == io.EOF {
			return errors.Join(refused...)
		}
		if err != nil {
			return err
		}
	}
}

// loadWarninglist reads a MISP warninglist: a JSON object with a type and a list of values.
func (l *List) loadWarninglist(r io.Reader) error {
	var w struct {
		Type string   `json:"type"`
		List []string `json:"list"`
	}
	if err := json.NewDecoder(r).Decode(&w); err != nil {
		return fmt.Errorf("MISP warninglist: %w", err)
	}
	var refused []error
	for i, value := range w.List {
		if err := l.addWarning(w.Type, value); err != nil && len(refused) < 3 {
			refused = append(refused, fmt.Errorf("entry %d: %w", i+1, err))
		}
	}
	return errors.Join(refused...)
}

func (l *List) addWarning(kind, value string) error {
	switch kind {
	case "string":
		if _, err := netip.ParsePrefix(value); err != nil && !strings.HasPrefix(value, ".") {
			value = "=" + strings.TrimPrefix(value, "=")
			if _, ok := ParseKey(value[1:]); !ok {
				l.exact[strings.ToLower(value[1:])] = struct{}{} // a name of some other kind, which no key has
				return nil
			}
		}
		return l.add(value)
	case "cidr", "hostname":
		return l.add(value)
	case "substring":
		if l.Loose {
			l.substrings = append(l.substrings, strings.ToLower(value))
		}
		return nil
	case "regex":
		return l.addPattern(value)
	}
	return fmt.Errorf("warninglist of unknown type %q", kind)
}

func (l *List) addPattern(value string) error {
	if !l.Loose {
		return nil
	}
	if end := strings.LastIndexByte(value, '/'); end > 0 && value[0] == '/' {
		value = value[1:end] // what follows are flags, such as i
	}
	p, err := regexp.Compile("(?i)" + value)
	if err != nil {
		return err
	}
	l.patterns = append(l.patterns, p)
	return nil
}
