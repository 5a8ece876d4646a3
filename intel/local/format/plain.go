package format

import (
	"bufio"
	"bytes"

	"iocpipe/intel"
)

// readPlain reads one value per line, with comments after # and ;, and report lines where a line begins with a brace.
// All values share one statement.
func (l *list) readPlain(in *bufio.Reader) error {
	listed := l.statement(malicious, intel.Report{})
	return l.eachLine(in, func(line []byte) error {
		switch {
		case len(line) == 0 || line[0] == '#' || line[0] == ';':
			return nil
		case line[0] == '{':
			return l.addReportLine(line)
		case len(line) > maxListLine:
			l.refuse(string(line[:maxListLine]), errTooLong)
			return nil
		}
		return l.add(withoutComment(line), listed)
	})
}

// withoutComment returns the value of a line. A comment begins with # or ; behind white space, and anywhere when it
// cannot belong to the value, as it can in a URL.
func withoutComment(line []byte) string {
	for i := 1; i < len(line); i++ {
		if (line[i] == '#' || line[i] == ';') && (line[i-1] == ' ' || line[i-1] == '\t') {
			line = bytes.TrimSpace(line[:i])
			break
		}
	}
	if mark := bytes.IndexAny(line, "#;"); mark > 0 && bytes.IndexByte(line[:mark], '/') < 0 {
		line = bytes.TrimSpace(line[:mark])
	}
	return string(line)
}

// addReportLine takes a report line.
func (l *list) addReportLine(line []byte) error {
	if len(line) > maxReportLine {
		l.refuse("", errTooLong)
		return nil
	}
	entry, err := intel.ParseEntryLine(line)
	if err != nil {
		l.refuse("", err)
		return nil
	}
	s := *entry.Statement
	s.Source = l.Source
	if l.Votes != nil && s.Report.Known {
		s.Report.Votes, s.Report.Voted = *l.Votes, true
	}
	if entry.Key.Type.IsHash() && emptyFile[entry.Key.Value] {
		l.refuse(entry.Key.Value, errEmptyFile)
		return nil
	}
	entry.Statement = &s
	return l.take(entry)
}
