package filter

import (
	"bytes"
	"strconv"
	"time"
)

// timeWithin is how far into a line its time is looked for, in bytes, and in a JSON event behind its name.
const timeWithin = 80

// timeNames are the members of JSON events that hold the time of the event, the most telling first.
var timeNames = [][]byte{[]byte(`"@timestamp":`), []byte(`"timestamp":`), []byte(`"time":`), []byte(`"ts":`)}

// timeForms are the forms in which lines state their time: what marks one, where the time begins before the mark, its
// layout up to the seconds, and that of the zone. Those without a year are of the year that was now.
var timeForms = []struct {
	mark         byte
	before       int
	layout, zone string
}{
	{'T', len("2006-01-02"), "2006-01-02T15:04:05", "Z07:00"},
	{'T', len("2006-01-02"), "2006-01-02T15:04:05", "-0700"},
	{'T', len("2006-01-02"), "2006-01-02T15:04:05", ""},
	{':', len("2006-01-02 15"), "2006-01-02 15:04:05", ""},
	{':', len("2006/01/02 15"), "2006/01/02 15:04:05", ""},
	{':', len("02/Jan/2006"), "02/Jan/2006:15:04:05", " -0700"},
	{':', len("Jan _2 15"), "Jan _2 15:04:05", ""},
	{':', len("02-Jan-2006 15"), "02-Jan-2006 15:04:05", ""},
}

// LineTime returns the time that a line states, in zone, which may be nil for UTC, unless it names another. now tells the year of lines that state
// none. ok is false when the line states no time in one of the usual forms.
func LineTime(line []byte, now time.Time, zone *time.Location) (t time.Time, ok bool) {
	return lineTime(line, now, zone, new(minute))
}

func lineTime(line []byte, now time.Time, zone *time.Location, last *minute) (t time.Time, ok bool) {
	if zone == nil {
		zone = time.UTC
	}
	head := timeHead(line)
	for _, form := range timeForms {
		for from := 0; from < len(head); {
			i := bytes.IndexByte(head[from:], form.mark)
			if i < 0 {
				break
			}
			from += i + 1
			if start := from - 1 - form.before; start >= 0 {
				if t, ok = parseTime(form.layout, form.zone, head[start:], zone, last); ok {
					return inYear(t, now), true
				}
			}
		}
	}
	return epoch(head)
}

// A lineClock is the time of the line at hand, which is read but once: until read is false again.
type lineClock struct {
	when         time.Time
	read, stated bool
	last         minute
}

// at returns the time that line states, or else now; see [LineTime].
func (c *lineClock) at(line []byte, now time.Time, zone *time.Location) (when time.Time, stated bool) {
	if !c.read {
		c.read = true
		if c.when, c.stated = lineTime(line, now, zone, &c.last); !c.stated {
			c.when = now
		}
	}
	return c.when, c.stated
}

// timeHead returns the part of a line in which its time is looked for.
func timeHead(line []byte) []byte {
	if bytes.HasPrefix(line, []byte("{")) {
		for _, name := range timeNames {
			if _, value, found := bytes.Cut(line, name); found {
				line = value
				break
			}
		}
	}
	return line[:min(len(line), timeWithin)]
}

// parseTime reads a time that text begins with. A fraction of a second may follow the seconds, in front of a zone.
func parseTime(layout, zone string, text []byte, in *time.Location, last *minute) (t time.Time, ok bool) {
	if !shaped(layout, text) { // before time.Parse, whose errors cost more than its times
		return t, false
	}
	end := len(layout)
	if end < len(text) && (text[end] == '.' || text[end] == ',') {
		for end++; end < len(text) && isDigit(text[end]); {
			end++
		}
	}
	switch {
	case zone == "Z07:00" && end < len(text) && text[end] == 'Z':
		end++
	case end+len(zone) > len(text):
		return t, false
	default:
		end += len(zone)
	}
	to := len(layout) - len("05")
	if t, ok = last.second(text[:to], text[to:len(layout)], text[len(layout):end]); ok {
		return t, true
	}
	t, err := time.ParseInLocation(layout+zone, string(text[:end]), in)
	if err != nil {
		return t, false
	}
	last.set(t, text[:to], text[len(layout):end])
	return t, true
}

// A minute is the last that was read in one zone: lines that follow one another mostly state the same one, so that only the
// second is left to read.
type minute struct {
	before, behind []byte // the second, a fraction of it included
	start          time.Time
}

func (m *minute) set(t time.Time, before, behind []byte) {
	m.before, m.behind = append(m.before[:0], before...), append(m.behind[:0], behind...)
	m.start = t.Add(-time.Duration(t.Second()) * time.Second)
}

// second returns the time of two digits with that before and behind them; ok is false when it has to be parsed.
func (m *minute) second(before, digits, behind []byte) (t time.Time, ok bool) {
	n := 10*int(digits[0]-'0') + int(digits[1]-'0')
	if n > 59 || !bytes.Equal(before, m.before) || !bytes.Equal(behind, m.behind) {
		return t, false
	}
	return m.start.Add(time.Duration(n) * time.Second), true
}

// shaped reports whether text begins with digits and signs where layout has them.
func shaped(layout string, text []byte) bool {
	if len(text) < len(layout) {
		return false
	}
	for i, c := range []byte(layout) {
		switch {
		case isDigit(c):
			if !isDigit(text[i]) {
				return false
			}
		case (c == '-' || c == '/' || c == ':' || c == ' ' || c == 'T') && text[i] != c:
			return false
		}
	}
	return true
}

func isDigit(c byte) bool { return '0' <= c && c <= '9' }

// inYear gives a time without a year the latest one that does not lie ahead of now.
func inYear(t, now time.Time) time.Time {
	if t.Year() != 0 {
		return t
	}
	t = t.AddDate(now.Year(), 0, 0)
	if t.After(now.Add(24 * time.Hour)) {
		t = t.AddDate(-1, 0, 0)
	}
	return t
}

// epoch reads the seconds since 1970 with which the lines of Zeek and squid begin.
func epoch(head []byte) (t time.Time, ok bool) {
	head = bytes.TrimLeft(head, " \"")
	end := bytes.IndexFunc(head, func(r rune) bool { return (r < '0' || r > '9') && r != '.' })
	if end < 0 {
		end = len(head)
	}
	seconds, err := strconv.ParseFloat(string(head[:end]), 64)
	if err != nil || seconds < 1e8 || seconds > 1e11 {
		return t, false
	}
	return time.UnixMicro(int64(seconds * 1e6)).UTC(), true
}
