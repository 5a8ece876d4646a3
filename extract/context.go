package extract

import (
	"encoding/binary"
	"math/bits"
	"net/netip"
)

// An Outcome is what a line says became of what it tells: a login that failed, a name that was not there. Outcomes are
// ordered by how much they say.
type Outcome uint8

// The outcomes.
const (
	NoOutcome Outcome = iota
	OK                // accepted, allowed, HTTP 2xx and 3xx
	Fail              // failed login, HTTP 4xx
	NXDomain          // the name does not exist
	Deny              // blocked, dropped, rejected
)

// A Context is what a line says, cheaply readable, beside its indicators.
type Context struct {
	Outcome Outcome
	Host    string // the private address that met the indicators; aliases the matches
}

// outcomeWords are the words that tell an outcome, in text and in the values of JSON events (event.outcome,
// event.action, dns.response_code and what products write there), cut to eight letters.
var outcomeWords = func() map[uint64]Outcome {
	m := make(map[uint64]Outcome)
	for outcome, list := range map[Outcome][]string{
		OK: {"accepted", "accept", "success", "succeede", "allowed", "allow", "permitte", "opened", "establis",
			"built", "noerror"},
		Fail:     {"failed", "failure", "fail", "invalid", "unauthor", "unauthen", "unknown", "refused", "badauth"},
		NXDomain: {"nxdomain"},
		Deny: {"denied", "deny", "blocked", "block", "dropped", "drop", "reject", "rejected", "infected",
			"quaranti", "banned", "ban"},
	} {
		for _, word := range list {
			m[packWord([]byte(word))] = outcome
		}
	}
	return m
}()

// packWord returns the first eight letters of word, in lower case, as a number.
func packWord(word []byte) (p uint64) {
	for _, c := range word[:min(len(word), 8)] {
		p = p<<8 | uint64(lower(c))
	}
	return p
}

// signs holds, by their hash, the three bytes with which everything begins that may tell an outcome: the first letters
// of an outcome word, or what stands before an HTTP status and its first digit. To look for them passes a line at three
// times the speed of looking at its words.
var signs = func() (set [1 << 10]uint64) {
	add := func(sign string) {
		var last uint32
		for _, c := range []byte(sign) {
			last = withByte(last, c)
		}
		set[signHash(last)>>6] |= 1 << (signHash(last) & 63)
	}
	for packed := range outcomeWords {
		n := (bits.Len64(packed) + 7) / 8
		add(string(binary.BigEndian.AppendUint64(nil, packed)[8-n:][:3]))
	}
	for _, digit := range []string{"2", "3", "4"} {
		add(`" ` + digit)
		add(`":` + digit)
		for c := 'a'; c <= 'z'; c++ {
			add(string(c) + "/" + digit)
		}
	}
	return set
}()

// withByte returns the last three bytes, letters in lower case, when c follows them.
func withByte(last uint32, c byte) uint32 { return last>>8 | uint32(c|0x20)<<16 }

func signHash(last uint32) uint32 { return last * 0x9E3779B1 >> 16 }

// ReadContext reads what line says beside its matches: the word, or the HTTP status, that tells the most, and the first
// private address. It does not allocate.
func ReadContext(line []byte, matches []Match) (c Context) {
	var last uint32
	for i, b := range line {
		last = withByte(last, b)
		if h := signHash(last); signs[h>>6]>>(h&63)&1 != 0 && i >= 2 {
			c.Outcome = max(c.Outcome, outcomeAt(line, i))
		}
	}
	for _, m := range matches {
		if m.Type == IP && isPrivate(m.Value) {
			c.Host = m.Value
			break
		}
	}
	return c
}

// outcomeAt returns what the word tells whose third letter is line[i], or the number that begins there.
func outcomeAt(line []byte, i int) Outcome {
	start, kind := i-2, isLetter
	if class[line[i]]&isDigit != 0 {
		start, kind = i, isDigit
	}
	if start > 0 && class[line[start-1]]&kind != 0 {
		return NoOutcome
	}
	end := start
	for end < len(line) && class[line[end]]&kind != 0 {
		end++
	}
	switch n := end - start; {
	case kind == isLetter && n >= 3 && n <= 15:
		return outcomeWords[packWord(line[start:end])]
	case kind == isDigit && n == 3 && end < len(line) && isStatusPlace(line, start, end):
		return statusOutcome(line[start])
	}
	return NoOutcome
}

// statusOutcome returns what an HTTP status tells by its first digit.
func statusOutcome(digit byte) Outcome {
	switch digit {
	case '4':
		return Fail
	case '2', '3':
		return OK
	}
	return NoOutcome
}

var statusWord = newWords("status")

// isStatusPlace reports whether a number stands where an HTTP status does: behind the quoted request of an access log,
// behind squid's TCP_MISS/, or behind a JSON member's status":.
func isStatusPlace(line []byte, start, end int) bool {
	before := line[start-1]
	switch {
	case before == ' ':
		return line[start-2] == '"' && line[end] == ' '
	case before == '/':
		return line[end] == ' ' && isUpper(line[start-2])
	case before == ':' && line[start-2] == '"':
		name := line[max(0, start-len(`status_code":`)):start]
		return statusWord.in(alias(name))
	}
	return false
}

var privateRanges = prefixes("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "100.64.0.0/10", "fc00::/7", "fe80::/10")

func isPrivate(value string) bool {
	if value == "" || value[0] != '1' && value[0] != 'f' { // as most addresses do not begin, and all private ones do
		return false
	}
	addr, err := netip.ParseAddr(value)
	if err != nil {
		return false
	}
	for _, p := range privateRanges {
		if p.Contains(addr) {
			return true
		}
	}
	return false
}
