package extract

import (
	"bytes"
	"net/netip"
	"strings"
	"unicode"
	"unicode/utf8"
	"unsafe"
)

// ParseKey reads one value as a person, a list or a report writes it and returns its key: an address, a domain, an
// e-mail address or a hash, in any case and with the usual blanks around it. ok is false when the whole of s is not
// one indicator. Detection names have no form and are never returned.
func ParseKey(s string) (key Key, ok bool) {
	s = strings.TrimSpace(s)
	if len(s) < len("::") || len(s) > 4*maxDomain {
		return Key{}, false
	}
	if addr, ok := parseAddr(s); ok {
		return Key{IP, addr.Unmap().WithZone("").String()}, true
	}
	if typ := hashType(len(s)); typ != None && allHex([]byte(s)) {
		return Key{typ, strings.ToLower(s)}, true
	}
	if at := strings.LastIndexByte(s, '@'); at > 0 {
		return parseEmail(s[:at], s[at+1:])
	}
	host, ok := ParseDomain(s)
	return Key{Domain, host}, ok
}

// parseAddr is netip.ParseAddr for strings that are seldom addresses: its errors cost memory.
func parseAddr(s string) (addr netip.Addr, ok bool) {
	if class[s[len(s)-1]]&isDigit == 0 && strings.IndexByte(s, ':') < 0 {
		return addr, false
	}
	addr, err := netip.ParseAddr(s)
	return addr, err == nil
}

// parseEmail returns the key of local@host. The local part is quoted or without the characters that need it; the host
// may be an address in brackets.
func parseEmail(local, host string) (key Key, ok bool) {
	quoted := len(local) > 2 && local[0] == '"' && local[len(local)-1] == '"'
	if !quoted && strings.ContainsAny(local, " \t<>()[],;:\\\"") || strings.ContainsFunc(local, unicode.IsControl) {
		return Key{}, false
	}
	local = lowerASCII(local)
	if n := len(host) - 1; n > 0 && host[0] == '[' && host[n] == ']' {
		literal, ok := parseLiteral(host[1:n])
		return Key{Email, local + "@" + literal}, ok
	}
	host, ok = ParseDomain(host)
	return Key{Email, local + "@" + host}, ok
}

// lowerASCII returns s with its ASCII capitals in lower case: what other capitals become depends on the language.
func lowerASCII(s string) string {
	return strings.Map(func(r rune) rune {
		if r < utf8.RuneSelf {
			return rune(lower(byte(r)))
		}
		return r
	}, s)
}

// ParseDomain returns the normalised form of a domain name: lower case, A-labels, without the trailing dot. Names that
// only a private network knows are accepted when they have two labels; ok is false for anything that is no name.
func ParseDomain(s string) (domain string, ok bool) {
	s = strings.TrimSuffix(strings.TrimSpace(s), ".")
	name := unsafe.Slice(unsafe.StringData(s), len(s)) // only read
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
	if rule := n.checkLabels(marksOf(name)); rule != Accepted && rule != Underscore || class[name[n.tld]]&isLetter == 0 {
		return "", false
	}
	for _, c := range name {
		if class[c]&inWord == 0 {
			return "", false
		}
	}
	return strings.ToLower(alias(name)), true
}

// wholeName is the whole of text as a candidate for a domain.
func wholeName(text []byte) name {
	return name{text: text, end: len(text), tld: bytes.LastIndexByte(text, '.') + 1}
}
