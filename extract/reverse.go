package extract

import (
	"net/netip"
	"strings"
)

// reverseZone reports the address that a name below in-addr.arpa or ip6.arpa stands for (RFC 1035, RFC 3596), in the
// place of the name. It returns false when the name is not a whole address.
func (s *Scanner) reverseZone(n name) bool {
	addr, ok := parseReverse(string(n.text[n.start:n.end]))
	if !ok {
		return false
	}
	from := len(s.memory)
	s.memory = addr.AppendTo(s.memory)
	s.emit(IP, s.memory[from:], n.start, n.end)
	return true
}

func parseReverse(name string) (addr netip.Addr, ok bool) {
	name = strings.ToLower(name)
	if digits, found := strings.CutSuffix(name, ".in-addr.arpa"); found {
		p := strings.Split(digits, ".")
		if len(p) != 4 {
			return addr, false
		}
		addr, err := netip.ParseAddr(p[3] + "." + p[2] + "." + p[1] + "." + p[0])
		return addr, err == nil
	}
	nibbles, found := strings.CutSuffix(name, ".ip6.arpa")
	if !found || len(nibbles) != 63 {
		return addr, false
	}
	var b [16]byte
	for i := range 32 {
		c := nibbles[62-2*i]
		if class[c]&isHex == 0 || i > 0 && nibbles[63-2*i] != '.' {
			return addr, false
		}
		b[i/2] = b[i/2]<<4 | hexValue(c)
	}
	return netip.AddrFrom16(b).Unmap(), true
}
