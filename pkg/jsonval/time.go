package jsonval

import (
	"bytes"
	"slices"
	"strconv"
	"time"
)

var timeFormats = []string{
	"iso", "rfc3339", "seconds", "millis", "micros", "nanos", "fraction", "date", "datetime", "day",
}

// AppendTime appends t as a JSON value in one of [TimeFormats]. It reports false when the
// format cannot hold the time, or is none: years beyond four digits have no text form that
// partners read.
func AppendTime(dst []byte, t time.Time, format string) ([]byte, bool) {
	t = t.UTC()
	layout := ""
	switch format {
	case "seconds":
		return strconv.AppendInt(dst, t.Unix(), 10), true
	case "millis":
		return strconv.AppendInt(dst, t.UnixMilli(), 10), true
	case "micros":
		return strconv.AppendInt(dst, t.UnixMicro(), 10), true
	case "nanos":
		if y := t.Year(); y < 1678 || y > 2261 {
			return dst, false
		}
		return strconv.AppendInt(dst, t.UnixNano(), 10), true
	case "fraction":
		dst = strconv.AppendInt(dst, t.Unix(), 10)
		if t.Unix() < 0 && t.Nanosecond() != 0 {
			return dst, true // the fraction would point the other way
		}
		if ms := t.UnixMilli() % 1000; ms > 0 {
			dst = append(dst, '.', byte('0'+ms/100), byte('0'+ms/10%10), byte('0'+ms%10))
			dst = bytes.TrimRight(dst, "0")
		}
		return dst, true
	case "iso":
		layout = "2006-01-02T15:04:05.000Z"
	case "rfc3339":
		layout = "2006-01-02T15:04:05Z"
	case "date":
		layout = "2006-01-02"
	case "datetime":
		layout = "2006-01-02 15:04:05"
	case "day":
		layout = "20060102"
	default:
		return dst, false
	}
	if y := t.Year(); y < 0 || y > 9999 {
		return dst, false
	}
	dst = append(dst, '"')
	dst = t.AppendFormat(dst, layout)
	return append(dst, '"'), true
}

// TimeFormats are the formats of [AppendTime].
func TimeFormats() []string { return slices.Clone(timeFormats) }
