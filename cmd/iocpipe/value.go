package main

import (
	"net/netip"
	"strings"

	"iocpipe/extract"
)

// parseValue reads one indicator as a person writes it: defanged, in a URL, in capitals. With typ "antivirus" it is a
// detection name, which has no form of its own.
func parseValue(arg, typ string) (extract.Key, error) {
	if typ == extract.Antivirus.String() {
		name := strings.ToLower(strings.TrimSpace(arg))
		if name == "" {
			return extract.Key{}, usagef("%q is no detection name", arg)
		}
		return extract.Key{Type: extract.Antivirus, Value: name}, nil
	}
	if key, ok := extract.ParseKey(arg); ok {
		return key, nil
	}
	if p, err := netip.ParsePrefix(arg); err == nil && !p.IsSingleIP() { // its first address would say nothing of it
		return extract.Key{}, usagef("%s is a network; name an address (iocpipe intel ls says what is listed of networks)", p)
	}
	s := extract.Scanner{Defang: extract.DefangAll}
	matches := s.Append(nil, []byte(arg))
	if len(matches) == 0 {
		return extract.Key{}, usagef("%q is no address, domain, e-mail address or hash; for a detection name give --type antivirus", arg)
	}
	return matches[0].Clone(), nil
}
