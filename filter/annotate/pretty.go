package annotate

import (
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"iocpipe/intel"
)

// AppendSafe appends text as a terminal or a page may show it to a person: control characters, terminal escapes, marks
// that turn the direction of text or are invisible, and bytes that are not UTF-8 become \xNN, \uNNNN or \UNNNNNNNN;
// tabs and all other characters stay.
func AppendSafe(dst, text []byte) []byte {
	done := 0
	for i := 0; i < len(text); {
		if c := text[i]; ' ' <= c && c < 0x7f || c == '\t' {
			i++
			continue
		}
		r, size := utf8.DecodeRune(text[i:])
		if bad := r == utf8.RuneError && size == 1; bad || !unicode.IsGraphic(r) {
			dst = append(dst, text[done:i]...)
			if bad {
				r = rune(text[i])
			}
			dst = appendVisible(dst, r, size)
			done = i + size
		}
		i += size
	}
	return append(dst, text[done:]...)
}

// Safe returns text as [AppendSafe] writes it.
func Safe(text string) string { return string(AppendSafe(nil, []byte(text))) }

// appendVisible appends the escape of a character that took size bytes.
func appendVisible(dst []byte, r rune, size int) []byte {
	mark, digits := byte('u'), 4
	switch {
	case size == 1:
		mark, digits = 'x', 2
	case r > 0xffff:
		mark, digits = 'U', 8
	}
	dst = append(dst, '\\', mark)
	for shift := 4 * (digits - 1); shift >= 0; shift -= 4 {
		dst = append(dst, lowerHex[r>>shift&15])
	}
	return dst
}

// colours are the terminal's sequences by verdict.
var colours = [...]string{
	intel.Benign:    "\x1b[32m",
	intel.Unknown:   "\x1b[36m",
	intel.Undecided: "\x1b[33m",
	intel.Related:   "\x1b[35m",
	intel.Malicious: "\x1b[1;31m",
}

const colourEnd = "\x1b[0m"

// AppendPretty appends a line, given without its line ending, for a person at a terminal: made safe as by [AppendSafe],
// the indicators coloured in place by verdict, and beneath it a line for each value that something is known of. hits
// are in the order of their offsets. The last line has no ending. Without color there are no colours.
func (a *Annotator) AppendPretty(dst, line []byte, hits []Hit, color bool) []byte {
	a.choose(line, hits, false)
	dst = a.appendColoured(dst, line, color)
	for i := range a.picks {
		p := &a.picks[i]
		if p.hit.Finding.Verdict != intel.NoVerdict && a.once(p) {
			dst = appendExplanation(dst, p.hit, color)
		}
	}
	return dst
}

// appendColoured appends line. Where matches overlap, as an address does the domain in it, all they cover has the
// colour of the worst.
func (a *Annotator) appendColoured(dst, line []byte, color bool) []byte {
	done := 0
	for i := 0; color && i < len(a.picks); {
		start, end := a.picks[i].hit.Start, a.picks[i].hit.End
		worst := intel.NoVerdict
		for i < len(a.picks) && a.picks[i].hit.Start < end {
			worst = max(worst, a.picks[i].hit.Finding.Verdict)
			end = max(end, a.picks[i].hit.End)
			i++
		}
		dst = AppendSafe(dst, line[done:start])
		dst = appendColour(dst, worst, line[start:end])
		done = end
	}
	return AppendSafe(dst, line[done:])
}

func appendColour(dst []byte, verdict intel.Verdict, text []byte) []byte {
	colour := colours[verdict]
	dst = append(dst, colour...)
	dst = AppendSafe(dst, text)
	if colour != "" {
		dst = append(dst, colourEnd...)
	}
	return dst
}

// appendExplanation appends a line break and what is known of one indicator.
func appendExplanation(dst []byte, hit *Hit, color bool) []byte {
	f := &hit.Finding
	dst = AppendSafe(append(dst, "\n  └ "...), []byte(hit.Value))
	dst = append(dst, "  "...)
	verdict := []byte(strings.ToUpper(f.Verdict.String()))
	if color {
		dst = appendColour(dst, f.Verdict, verdict)
	} else {
		dst = append(dst, verdict...)
	}
	dst = append(dst, "  "...)
	if f.Verdict == intel.Related {
		dst = AppendSafe(append(dst, "via "...), []byte(f.Via.Value))
		dst = append(appendRelation(append(dst, ' '), f), dot...)
	}
	if votes, voted := votesOf(f); voted {
		dst = strconv.AppendInt(append(dst, "votes "...), int64(votes), 10)
		dst = append(dst, dot...)
	}
	return appendAbout(AppendSafe(dst, []byte(f.Source)), hit)
}

// dot stands between what an explanation lists.
const dot = " · "

// appendAbout appends how much is related, when it was last seen, and whether that is out of date.
func appendAbout(dst []byte, hit *Hit) []byte {
	f := &hit.Finding
	if related := relatedTo(f, hit.Value); f.Verdict != intel.Related && related.total() > 0 {
		dst = appendCounts(append(dst, dot...), &related, ", ")
	}
	if seen := lastSeen(f); !seen.IsZero() {
		dst = append(append(dst, dot...), "last seen "...)
		dst = seen.UTC().AppendFormat(dst, time.DateOnly)
	}
	if f.Stale {
		dst = append(append(dst, dot...), "expired"...)
	}
	return dst
}
