package extract

import (
	"bytes"
	"net/netip"
	"strings"
)

// ParseKey reads one value as a person, a list or a report writes it and returns its key: an address, a domain, an
// e-mail address or a hash, in any case and with the usual blanks around it. ok is false when the whole of s is not
// one indicator. Detection names have no form and are never returned.
func ParseKey(s string) (key Key, ok bool) {
	s = strings.TrimSpace(s)
	if len(s) < minIndicator || len(s) > 4*maxDomain {
		return Key{}, false
	}
	if addr, err := netip.ParseAddr(s); err == nil {
		return Key{IP, addr.Unmap().WithZone("").String()}, true
	}
	if typ := hashType(len(s)); typ != None && allHex([]byte(s)) {
		return Key{typ, strings.ToLower(s)}, true
	}
	if at := strings.LastIndexByte(s, '@'); at > 0 {
		host, ok := ParseDomain(s[at+1:])
		local := strings.ToLower(s[:at])
		return Key{Email, local + "@" + host}, ok && !strings.ContainsAny(local, " \t<>,;:/\\")
	}
	host, ok := ParseDomain(s)
	return Key{Domain, host}, ok
}

// ParseDomain returns the normalised form of a domain name: lower case, A-labels, without the trailing dot. Names that
// only a private network knows are accepted when they have two labels; ok is false for anything that is no name.
func ParseDomain(s string) (domain string, ok bool) {
	s = strings.TrimSuffix(strings.TrimSpace(s), ".")
	name := []byte(s)
	if marksOf(name)&isHigh != 0 {
		ascii, ok := toASCII(name)
		if !ok {
			return "", false
		}
		name = []byte(ascii)
	}
	if len(name) > maxDomain || bytes.IndexByte(name, '.') <= 0 {
		return "", false
	}
	n := wholeName(name)
	if rule := n.checkLabels(); rule != Accepted && rule != Underscore || class[name[n.tld]]&isLetter == 0 {
		return "", false
	}
	for _, c := range name {
		if class[c]&inWord == 0 {
			return "", false
		}
	}
	return strings.ToLower(string(name)), true
}

// wholeName is the whole of text as a candidate for a domain.
func wholeName(text []byte) name {
	return name{text: text, end: len(text), tld: bytes.LastIndexByte(text, '.') + 1}
}
