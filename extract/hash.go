package extract

import "bytes"

// minHash is the length of the shortest hash, MD5, in digits.
const minHash = 32

// hashType returns the hash that n hexadecimal digits can be.
func hashType(n int) Type {
	switch n {
	case 32:
		return MD5
	case 40:
		return SHA1
	case 64:
		return SHA256
	case 128:
		return SHA512
	}
	return None
}

// hashes reports the hashes in t[start:end], a word of at least minHash bytes. A hash stands alone between hyphens,
// dots and underscores; a run of letters and digits that is longer than a hash holds none.
func (s *Scanner) hashes(t []byte, start, end int) {
	if s.Explain && isUUID(t[start:end]) {
		s.drop(TraceID, start, end)
		return
	}
	for i := start; i+minHash <= end; i++ {
		if dash := lastNotAlnum(t, i, i+minHash); dash >= i {
			i = dash // no run that is long enough begins before
			continue
		}
		run, hex := i, isHex
		for i < end && class[t[i]]&isAlnum != 0 {
			hex &= class[t[i]]
			i++
		}
		if hex == 0 && hasFoldPrefix(t[run:i], "0x") && allHex(t[run+2:i]) {
			if i-run == len("0x")+40 {
				s.drop(OtherHash, run, i) // an account of a blockchain
				continue
			}
			run, hex = run+2, isHex
		}
		if hex == 0 {
			continue
		}
		typ := hashType(i - run)
		if typ == None {
			s.drop(HexRun, run, i)
			continue
		}
		if rule := s.hashContext(t, run, i); rule != Accepted {
			s.drop(rule, run, i)
			continue
		}
		s.emit(typ, s.lowered(t[run:i]), run, i)
	}
}

// lastNotAlnum returns where the last byte of t[start:end] stands that is neither letter nor digit, or -1.
func lastNotAlnum(t []byte, start, end int) int {
	for i := end - 1; i >= start; i-- {
		if class[t[i]]&isAlnum == 0 {
			return i
		}
	}
	return -1
}

// isUUID recognises 4bf92f35-77b3-4da6-a3ce-929d0e0e4736.
func isUUID(word []byte) bool {
	if len(word) != len("4bf92f35-77b3-4da6-a3ce-929d0e0e4736") {
		return false
	}
	for i, c := range word {
		dash := i == 8 || i == 13 || i == 18 || i == 23
		if dash != (c == '-') || !dash && class[c]&isHex == 0 {
			return false
		}
	}
	return true
}

// hashContext says why the digits at t[start:end] are no hash of a file after all.
func (s *Scanner) hashContext(t []byte, start, end int) Rule {
	if !variedDigits(t[start:end]) {
		return Digits
	}
	before, gap := wordBefore(t, start)
	if gap > 0 && len(before) > 0 && (otherHashWords.in(alias(before)) || isImportHash(t[:start-gap])) ||
		fieldNames(s.context(), otherHashWords) || isSerialNumber(t, end) {
		return OtherHash
	}
	if fieldNames(s.context(), hashWords) {
		return Accepted
	}
	if fieldNames(s.context(), idWords) {
		return TraceID
	}
	if gap > 0 && len(before) > 0 && idWords.in(alias(before)) && !hashWords.in(alias(before)) {
		return TraceID
	}
	if isTraceParent(t, start, end) || isRequestList(t, start) || isResourcePath(t, start) || isCursor(t[end:]) {
		return TraceID
	}
	return Accepted
}

// isImportHash recognises the words "import hash" that end before.
func isImportHash(before []byte) bool {
	n := len(before) - len("import hash")
	return n >= 0 && hasFoldPrefix(before[n:], "import") && hasFoldPrefix(before[n+len("import "):], "hash")
}

// isSerialNumber reports whether the column behind t[end] is a certificate's subject, as behind the serial number in
// Zeek's x509.log: (fingerprint) 3 (serial number) CN=www.example.com.
func isSerialNumber(t []byte, end int) bool {
	if end == len(t) || t[end] != '\t' {
		return false
	}
	const longest = len("unstructuredName")
	from := end + 1
	for end = from; end < len(t) && end-from < longest && class[t[end]]&isAlnum != 0; end++ {
	}
	return end > from && end < len(t) && t[end] == '='
}

// variedDigits reports whether the digits are neither all decimal nor all F: counters, keys of zeros and masks.
func variedDigits(digits []byte) bool {
	letter, notF := false, false
	for _, c := range digits {
		letter = letter || class[c]&isLetter != 0
		notF = notF || c|0x20 != 'f'
	}
	return letter && notF
}

// isTraceParent recognises the trace in the form of W3C, 00-(32 digits)-(16 digits)-(2 digits), and in that of Zipkin,
// (32 digits)-(16 digits)-1.
func isTraceParent(t []byte, start, end int) bool {
	const span = len("-00f067aa0ba902b7")
	return end-start == 32 && len(t) > end+span && t[end] == '-' && t[end+span] == '-' && allHex(t[end+1:end+span])
}

// isCursor recognises the identifiers in a cursor of journald, s=(32 digits);i=1;b=(32 digits);m=1, by what follows.
func isCursor(after []byte) bool {
	return bytes.HasPrefix(after, []byte(";i=")) || bytes.HasPrefix(after, []byte(";m="))
}

// isRequestList recognises the identifiers of user and tenant that OpenStack writes behind a request's:
// [req-(UUID) (32 digits) (32 digits) - - -].
func isRequestList(t []byte, start int) bool {
	const longest = len("[req-96abccce-8d1f-4e07-b6d1-4b2ab87e23b4 113d3a99c3da401fbd62cc2caa5b96d2 ")
	before := t[max(0, start-longest):start]
	open := bytes.LastIndexByte(before, '[')
	return open >= 0 && bytes.HasPrefix(before[open:], []byte("[req-")) && bytes.IndexByte(before[open:], ']') < 0
}

// isResourcePath recognises the identifier behind the version in an API's path: /v2.1/(32 digits)/servers.
func isResourcePath(t []byte, start int) bool {
	if start < 4 || t[start-1] != '/' {
		return false
	}
	i := start - 2
	for i > 0 && start-i < 6 && class[t[i]]&(isDigit|isDot) != 0 {
		i--
	}
	return i > 0 && i < start-2 && t[i] == 'v' && t[i-1] == '/'
}
