package extract

import "testing"

// readOutcome is ReadContext's reading of outcomes as it is meant: word by word.
func readOutcome(line []byte) (outcome Outcome) {
	for i := 0; i < len(line); {
		kind := class[line[i]] & isAlnum
		start := i
		for i++; i < len(line) && class[line[i]]&kind != 0; i++ {
		}
		switch n := i - start; {
		case kind == isLetter && n >= 3 && n <= 15:
			outcome = max(outcome, outcomeWords[packWord(line[start:i])])
		case kind == isDigit && n == 3 && start > 1 && i < len(line) && isStatusPlace(line, start, i):
			outcome = max(outcome, statusOutcome(line[start]))
		}
	}
	return outcome
}

func FuzzReadContext(f *testing.F) {
	f.Add(`GET / HTTP/1.1" 404 12`)                   // a status in an access log
	f.Add(`TCP_MISS/200 a/300 b`)                     // in a line of squid's, and a path
	f.Add(`{"status":403,"http.status_code":200}`)    // in events
	f.Add(`BANNED urban ban bane 9ban9 quarantined`)  // words within words
	f.Add("Failed unauthorised nxdomain established") // words over eight letters
	f.Fuzz(func(t *testing.T, text string) {
		if got, want := ReadContext([]byte(text), nil).Outcome, readOutcome([]byte(text)); got != want {
			t.Errorf("%q: outcome %d, want %d", text, got, want)
		}
	})
}
