package extract

import "net/netip"

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

// ReadContext reads what line says beside its matches: the word, or the HTTP status, that tells the most, and the first
// private address. It does not allocate.
func ReadContext(line []byte, matches []Match) (c Context) {
	for i := 0; i < len(line); {
		kind := class[line[i]] & isAlnum
		if kind == 0 {
			i++
			continue
		}
		start := i
		for i < len(line) && class[line[i]]&kind != 0 {
			i++
		}
		c.Outcome = max(c.Outcome, outcomeOf(line, start, i))
	}
	for _, m := range matches {
		if m.Type == IP && isPrivate(m.Value) {
			c.Host = m.Value
			break
		}
	}
	return c
}

// outcomeOf returns what the word or number line[start:end] tells.
func outcomeOf(line []byte, start, end int) Outcome {
	switch n := end - start; {
	case n < 3:
		return NoOutcome
	case class[line[start]]&isLetter != 0:
		if n > 2 && n <= 15 {
			return outcomeWords[packWord(line[start:end])]
		}
	case n == 3 && start > 1 && end < len(line) && isStatusPlace(line, start, end):
		switch line[start] {
		case '4':
			return Fail
		case '2', '3':
			return OK
		}
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
