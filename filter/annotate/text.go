package annotate

import (
	"iocpipe/intel"
)

// textMark is what stands between a text line and its annotation.
const textMark = " iocpipe="

// AppendText appends a text line, given without its line ending, as it came, and behind it, where something is known,
// a blank and
//
//	iocpipe={"verdict":…,"matches":[{"value":…,"type":…,"verdict":…,"source":…,"votes":…,"reference":…}]}
//
// with one match for each value in the order of appearance. What is not known is left out; related indicators have via
// and relation in the place of votes, and expired answers "stale":true.
func (a *Annotator) AppendText(dst, line []byte, hits []Hit) []byte {
	dst = append(dst, line...)
	a.choose(line, hits, false)
	worst := intel.NoVerdict
	for _, p := range a.picks {
		if p.entry {
			worst = max(worst, p.hit.Finding.Verdict)
		}
	}
	if worst == intel.NoVerdict {
		return dst
	}
	dst = append(append(dst, textMark...), '{')
	dst = appendField(dst, "verdict", worst.String())
	dst = append(appendName(dst, "matches"), '[')
	for _, p := range a.picks {
		if p.entry {
			dst = appendTextMatch(dst, p.hit)
		}
	}
	return append(appendClose(dst, ']'), '}')
}

// appendTextMatch appends one match and a comma.
func appendTextMatch(dst []byte, hit *Hit) []byte {
	f := &hit.Finding
	dst = append(dst, '{')
	dst = appendField(dst, "value", hit.Value)
	dst = appendField(dst, "type", hit.Type.String())
	dst = appendField(dst, "verdict", f.Verdict.String())
	dst = appendField(dst, "source", f.Source)
	if votes, voted := votesOf(f); voted {
		dst = appendNumber(dst, "votes", int(votes))
	}
	if f.Verdict == intel.Related {
		dst = appendField(dst, "via", f.Via.Value)
		dst = appendField(dst, "relation", f.Relation)
	}
	if f.Stale {
		dst = append(appendName(dst, "stale"), "true,"...)
	}
	if link := reference(f); link != "" && len(link) <= maxKeyword {
		dst = appendField(dst, "reference", link)
	}
	return append(appendClose(dst, '}'), ',')
}
