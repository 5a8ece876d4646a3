package extract

import "net/netip"

// reverseZone reports the address that a name below in-addr.arpa or ip6.arpa stands for (RFC 1035, RFC 3596), in the
// place of the name. It returns false when the name is not a whole address.
func (s *Scanner) reverseZone(n *name) bool {
	addr, ok := parseReverse(n.text[n.start:n.end])
	if !ok {
		return false
	}
	from := len(s.memory)
	s.memory = addr.AppendTo(s.memory)
	s.emit(IP, s.memory[from:], n.start, n.end)
	return true
}

func parseReverse(name []byte) (addr netip.Addr, ok bool) {
	const v4, v6 = ".in-addr.arpa", ".ip6.arpa"
	if cut := len(name) - len(v4); cut > 0 && hasFoldPrefix(name[cut:], v4) {
		return reverseV4(name[:cut])
	}
	if cut := len(name) - len(v6); cut > 0 && hasFoldPrefix(name[cut:], v6) {
		return reverseV6(name[:cut])
	}
	return addr, false
}

// reverseV4 reads the four octets of an address, the last one first.
func reverseV4(octets []byte) (addr netip.Addr, ok bool) {
	if marksOf(octets)&(isLetter|isDash) != 0 || parseIPv4(octets) != Accepted {
		return addr, false
	}
	var b [4]byte
	i := len(b) - 1
	for _, c := range octets {
		if c == '.' {
			i--
			continue
		}
		b[i] = b[i]*10 + c - '0'
	}
	return netip.AddrFrom4(b), true
}

// reverseV6 reads the 32 digits of an address, the last one first.
func reverseV6(digits []byte) (addr netip.Addr, ok bool) {
	if len(digits) != 63 {
		return addr, false
	}
	var b [16]byte
	for i := range 32 {
		c := digits[62-2*i]
		if class[c]&isHex == 0 || i > 0 && digits[63-2*i] != '.' {
			return addr, false
		}
		b[i/2] = b[i/2]<<4 | hexValue(c)
	}
	return netip.AddrFrom16(b).Unmap(), true
}
