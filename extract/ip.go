package extract

import (
	"bytes"
	"net/netip"
	"strings"
	"unsafe"
)

// maxIPv6 is the longest text form of an address, with an IPv4 tail.
const maxIPv6 = 45

// alias returns b as a string without copying it; it is valid as long as b is.
func alias(b []byte) string { return unsafe.String(unsafe.SliceData(b), len(b)) }

// parseIPv4 checks that s is four decimal numbers up to 255 between dots. Leading zeros are refused: they mean octal
// to some programs and decimal to others.
func parseIPv4(s []byte) Rule {
	if len(s) < len("0.0.0.0") {
		return NumberRun
	}
	rule, parts, from := Accepted, 1, 0
	value := 0
	for i, c := range s {
		if c != '.' {
			value = value*10 + int(c-'0')
			continue
		}
		if i == from {
			return NumberRun
		}
		if !isOctet(s[from:i], value) {
			rule = BadOctet
		}
		parts, from, value = parts+1, i+1, 0
	}
	switch {
	case parts != 4 || from == len(s):
		return NumberRun
	case !isOctet(s[from:], value):
		return BadOctet
	}
	return rule
}

// isOctet checks digits and the value that they gave; the value of more than three may have overflowed.
func isOctet(digits []byte, value int) bool {
	return len(digits) <= 3 && value <= 255 && (digits[0] != '0' || len(digits) == 1)
}

// dotted handles t[start:end], a word of digits and dots only that holds at least one dot.
func (s *Scanner) dotted(t []byte, start, end int) {
	from := start
	for start < end && t[start] == '.' {
		start++
	}
	for start < end && t[end-1] == '.' {
		end--
	}
	word := t[start:end]
	if len(word) < len("1.2.3.4") {
		return
	}
	if bytes.Count(word, []byte(".")) < 3 {
		s.drop(NumberRun, start, end) // a number with a fraction, most of the time
		return
	}
	rule := parseIPv4(word)
	switch {
	case rule == Accepted && start == from+1:
		rule = NumberRun // .1.3.6.1: an object identifier from the root on
	case rule == NumberRun:
		if bytes.Contains(word, []byte("..")) {
			s.dotted(t, start+bytes.LastIndex(word, []byte("..")), end) // behind a leader
			return
		}
		if cut := portAfterDot(t, start, end); cut > 0 {
			s.emit(IP, word[:cut], start, start+cut)
			return
		}
	}
	if rule == Accepted {
		rule = s.versionContext(t, start, end)
	}
	if rule != Accepted {
		s.drop(rule, start, end)
		return
	}
	s.emit(IP, word, start, end)
}

// addressesBetweenDashes handles addresses in a word with dashes: both ends of a range, and what stands behind a long
// number, as in the names of HDFS block pools. Behind anything else four numbers are a version.
func (s *Scanner) addressesBetweenDashes(t []byte, start, end int) {
	const longNumber = 5
	for start < end && class[t[start]]&isDash != 0 {
		start++
	}
	for start < end && class[t[end-1]]&isDash != 0 {
		end--
	}
	previous := Accepted // of the part before: an address or a long number
	for i := start; i < end; i++ {
		from, marks := i, byteClass(0)
		for i < end && class[t[i]]&isDash == 0 {
			marks |= class[t[i]]
			i++
		}
		rule := NumberRun
		if marks&isDot != 0 && marks&(isLetter|isHigh) == 0 {
			rule = parseIPv4(t[from:i])
		}
		ranged := rule == Accepted && from == start && i < end && isRange(t[from:i], t[i], t[i+1:wordDash(t, i+1, end)])
		if rule == Accepted && (previous == Accepted && from > start || ranged || from == start && i == end) {
			s.emit(IP, t[from:i], from, i)
		} else if rule == Accepted {
			s.drop(Version, from, i)
		}
		if marks&^(isDigit|isHex|inWord) == 0 && i-from >= longNumber {
			rule = Accepted
		}
		previous = rule
	}
}

// addressBehindDots handles an address behind a word and the dots of a leader: address.....192.0.2.1.
func (s *Scanner) addressBehindDots(t []byte, start, end int) {
	if !bytes.Contains(t[start:end], []byte("..")) {
		return
	}
	if dots := bytes.LastIndex(t[start:end], []byte("..")); dots > 0 {
		if tail := start + dots + len(".."); tail < end && marksOf(t[tail:end])&(isLetter|isDash) == 0 {
			s.dotted(t, tail, end)
		}
	}
}

// isRange reports whether what stands behind an address and a dash is a second address, the last octet of one, or,
// behind an underscore, a port.
func isRange(addr []byte, dash byte, then []byte) bool {
	if parseIPv4(then) == Accepted {
		return true
	}
	last := addr[bytes.LastIndexByte(addr, '.')+1:]
	return smallNumber(then) > smallNumber(last) && (dash == '_' || smallNumber(then) <= 255)
}

// smallNumber returns the value of up to five digits, or -1.
func smallNumber(digits []byte) int {
	if len(digits) == 0 || len(digits) > 5 {
		return -1
	}
	n := 0
	for _, c := range digits {
		if class[c]&isDigit == 0 {
			return -1
		}
		n = n*10 + int(c-'0')
	}
	return n
}

// wordDash returns where the part of a word that begins at t[i] ends.
func wordDash(t []byte, i, end int) int {
	for i < end && class[t[i]]&isDash == 0 {
		i++
	}
	return i
}

// portAfterDot returns the length of the address in a word such as 192.0.2.1.443, as tcpdump and pf print it: five
// numbers beside an arrow. It returns 0 when the word is none.
func portAfterDot(t []byte, start, end int) int {
	cut := bytes.LastIndexByte(t[start:end], '.')
	if cut < 0 || end-start-cut > len(".65535") || parseIPv4(t[start:start+cut]) != Accepted {
		return 0
	}
	after := bytes.HasPrefix(t[end:], []byte(" > ")) || bytes.HasPrefix(t[end:], []byte(" <"))
	before := bytes.HasSuffix(t[:start], []byte("> ")) || bytes.HasSuffix(t[:start], []byte("< "))
	if after || before {
		return cut
	}
	return 0
}

// versionContext says whether four numbers at t[start:end] are a version or an object identifier by what stands
// beside them.
func (s *Scanner) versionContext(t []byte, start, end int) Rule {
	if end < len(t) {
		switch next := t[end]; {
		case next == '=':
			return ObjectID // 2.5.4.15=Private Organization, in a certificate's subject
		case (next == '+' || next == '~') && end+1 < len(t) && class[t[end+1]]&isLetter != 0:
			return Version // 1.2.3.4+dfsg, 1.2.3.4~rc1
		}
	}
	if start == 0 {
		if isVersionField(s.context()) {
			return Version
		}
		return Accepted
	}
	switch last := t[start-1]; {
	case last == '~' || last == '^':
		return Version // Package_for_KB3121255~31bf3856ad364e35~amd64~~6.1.1.0, ^1.2.3.4
	case last == '=' && start > 1 && bytes.IndexByte([]byte("=><~!"), t[start-2]) >= 0:
		return Version // >=1.2.3.4
	case last == ':' && (isImageTag(t, start-1) && !(end < len(t) && t[end] == ':') || isArchive(t[:start-1])):
		return Version
	case last == '|' && isHeaderVersion(t, start), last == '/' && fieldNames(s.context(), agentWords),
		bytes.HasSuffix(t[:start], []byte("§")):
		return Version
	}
	before, gap := wordBefore(t, start)
	switch {
	case len(before) == 0:
		return Accepted
	case t[start-1] == '/' && gap == 1 && (isProduct(before) || agents.has(before)):
		return Version // Chrome/78.0.3904.108
	case versionWords.has(before), isVersionField(alias(before)):
		return Version
	}
	return Accepted
}

// isVersionField reports whether a field's or key's name ends so, such as user_agent.version and fileVersion.
func isVersionField(field string) bool {
	n := len(field) - len("version")
	return n >= 0 && field[n]|0x20 == 'v' && strings.EqualFold(field[n:], "version")
}

// isArchive recognises the archive before a version in a Java stack trace: ~[spring-web.jar:5.3.1.2], ~[classes/:1.2.3.4].
func isArchive(before []byte) bool {
	return bytes.HasSuffix(before, []byte(".jar")) || bytes.HasSuffix(before, []byte("classes/"))
}

// isHeaderVersion reports whether the fourth part of a CEF or LEEF header begins at t[start], the version of a product:
// CEF:0|Vendor|Product|1.0.2.3|.
func isHeaderVersion(t []byte, start int) bool {
	const longest = 256
	before := t[max(0, start-longest):start]
	header := bytes.LastIndex(before, []byte("EF:"))
	return header > 0 && bytes.Count(before[header:], []byte("|")) == 3
}

// isImageTag reports whether the colon at t[colon] parts the last name of a container image from its tag:
// registry.example.com/app:1.2.3.4.
func isImageTag(t []byte, colon int) bool {
	i := colon
	for i > 0 && colon-i < maxLabel && class[t[i-1]]&(isAlnum|isDash) != 0 {
		i--
	}
	return i < colon && i > 1 && t[i-1] == '/' && class[t[i-2]]&isAlnum != 0
}

// isProduct reports whether word looks like a product's name in a user agent: capitalised, but no abbreviation such
// as TCP, which stands before a slash and an address.
func isProduct(word []byte) bool {
	return isUpper(word[0]) && bytes.ContainsFunc(word, func(r rune) bool { return r >= 'a' && r <= 'z' })
}

// maxGap is how many separators may stand between a word and what it says something about, a run of blanks counting as
// one; maxGapBytes is how many bytes they may have.
const (
	maxGap      = 4
	maxGapBytes = 16
)

// wordBefore returns the letters, digits, hyphens and underscores that end within maxGap separators before t[start],
// and how many bytes those have. Words longer than any it could be compared with come back cut off at the front.
func wordBefore(t []byte, start int) (word []byte, gap int) {
	end := start
	for separators := 0; end > 0 && class[t[end-1]]&isAlnum == 0 && start-end < maxGapBytes; end-- {
		if end == start || !isSpace(t[end-1]) || !isSpace(t[end]) {
			if separators++; separators > maxGap {
				break
			}
		}
	}
	gap = start - end
	from := end
	for from > 0 && end-from < 24 && class[t[from-1]]&(isAlnum|isDash) != 0 {
		from--
	}
	return t[from:end], gap
}

// ipv6 handles the run of hexadecimal digits, colons and dots that begins at t[start], and returns where the scan goes
// on: behind the address, or at start when there is none.
func (s *Scanner) ipv6(t []byte, start int) int {
	end, colons, double := start, 0, false
	for end < len(t) && (class[t[end]]&(isHex|isDot) != 0 || t[end] == ':') {
		if t[end] == ':' {
			colons++
			double = double || end > start && t[end-1] == ':'
		}
		end++
	}
	s.notIPv6Until = end // whatever comes of it, no piece of this run is an address of its own
	if !double && colons < 7 {
		if colons == 5 && isPairs(t[start:end], len("00:11:22:33:44:55")) {
			s.drop(HardwareAddr, start, end)
		}
		return start
	}
	if start > 0 && class[t[start-1]]&inWord != 0 && t[start-1] != '-' || followsLongGroup(t, start) ||
		end < len(t) && class[t[end]]&inWord != 0 && t[end] != '-' {
		if colons > 1 {
			s.drop(NotAssigned, start, end)
		}
		return start
	}
	addr, stop, rule := parseIPv6(t, start, end)
	if rule != Accepted {
		s.drop(rule, start, end)
		return start
	}
	from := len(s.memory)
	s.memory = addr.WithZone("").AppendTo(s.memory)
	s.emit(IP, s.memory[from:], start, stop)
	return stop
}

// followsLongGroup reports whether hexadecimal digits and a colon stand before t[start]: too many for a group of the
// address, or it would have begun there.
func followsLongGroup(t []byte, start int) bool {
	if start < 2 || t[start-1] != ':' {
		return false
	}
	i := start - 1
	for i > 0 && start-i < maxIPv6 && class[t[i-1]]&isHex != 0 {
		i--
	}
	return i < start-1 && (i == 0 || class[t[i-1]]&inWord == 0)
}

// parseIPv6 reads the address in t[start:end], a whole run of hexadecimal digits, colons and dots, and says where it
// ends: a colon or dot of the sentence, or a port behind it, are left out.
func parseIPv6(t []byte, start, end int) (addr netip.Addr, stop int, rule Rule) {
	stop = end
	for stop > start && (t[stop-1] == '.' || t[stop-1] == ':' && t[max(stop-2, start)] != ':') {
		stop--
	}
	word := t[start:stop]
	groups := bytes.Count(word, []byte(":")) + 1
	if groups > 9 {
		return addr, stop, HardwareAddr
	}
	if groups == 9 && start > 0 && t[start-1] == '/' {
		stop = start + bytes.LastIndexByte(word, ':') // Java prints /0:0:0:0:0:0:0:1:2181
	} else if cut := bytes.IndexByte(word, '.'); cut > 0 && bytes.Count(word, []byte(".")) == 1 {
		stop = start + cut // tcpdump prints 2001:db8::1.53
	}
	if word = t[start:stop]; len(word) > maxIPv6 || len(word) == 0 {
		return addr, stop, HardwareAddr
	}
	addr, err := netip.ParseAddr(alias(word))
	if err != nil {
		return addr, stop, HardwareAddr
	}
	addr = addr.Unmap()
	if isEUI64(word) {
		return addr, stop, HardwareAddr
	}
	if !inAssignedRange(addr) && bytes.Count(word, []byte(":")) < 6 && !writtenAsAddress(t, start, stop) {
		return addr, stop, NotAssigned
	}
	return addr, stop, Accepted
}

// writtenAsAddress reports whether what stands around t[start:end] leaves no doubt: [::]:443 and ::/0.
func writtenAsAddress(t []byte, start, end int) bool {
	rest := t[end:]
	digitAt := func(i int) bool { return i < len(rest) && class[rest[i]]&isDigit != 0 }
	return start > 0 && t[start-1] == '[' && bytes.HasPrefix(rest, []byte("]:")) && digitAt(2) ||
		len(rest) > 0 && rest[0] == '/' && digitAt(1) &&
			(start == 0 || class[t[start-1]]&(inWord|isJoint) == 0)
}

// isEUI64 reports whether word is eight pairs of digits: a hardware address rather than an IPv6 one.
func isEUI64(word []byte) bool { return isPairs(word, len("00:11:22:33:44:55:66:77")) }

// isPairs reports whether word, a run of hexadecimal digits, colons and dots, is size bytes of pairs between colons.
func isPairs(word []byte, size int) bool {
	if len(word) != size {
		return false
	}
	for i, c := range word {
		if (c == ':') != (i%3 == 2) {
			return false
		}
	}
	return true
}

// assignedRanges are the ranges that IPv6 addresses come from (IANA IPv6 address space and special-purpose
// registries). Other forms with two colons are C++ scopes, times and the like.
var assignedRanges = prefixes("2000::/3", "fc00::/7", "fe80::/10", "ff00::/8", "::1/128", "64:ff9b::/96",
	"64:ff9b:1::/48", "100::/64", "5f00::/16")

func inAssignedRange(a netip.Addr) bool {
	if a.Is4() {
		return true
	}
	for _, p := range assignedRanges {
		if p.Contains(a) {
			return true
		}
	}
	return false
}

func prefixes(list ...string) []netip.Prefix {
	out := make([]netip.Prefix, len(list))
	for i, s := range list {
		out[i] = netip.MustParsePrefix(s)
	}
	return out
}
