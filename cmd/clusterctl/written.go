package main

import (
	"encoding"
	"reflect"
	"time"
)

// written turns a configuration tree into what is to be shown of it: settings that were written, without their positions and
// without defaults. nil means that nothing was.
func written(v reflect.Value) any {
	if !v.IsValid() {
		return nil
	}
	switch x := v.Interface().(type) {
	case time.Duration:
		return x.String()
	case encoding.TextMarshaler: // addresses
		if b, err := x.MarshalText(); err == nil && len(b) > 0 {
			return string(b)
		}
		return nil
	}
	switch v.Kind() {
	case reflect.Pointer:
		if v.IsNil() {
			return nil
		}
		return written(v.Elem())
	case reflect.Slice:
		var out []any
		for i := range v.Len() {
			if e := written(v.Index(i)); e != nil {
				out = append(out, e)
			}
		}
		if len(out) == 0 {
			return nil // not a nil slice in a non-nil interface
		}
		return out
	case reflect.Struct:
		return writtenStruct(v)
	case reflect.Bool:
		return v.Interface()
	}
	if v.IsZero() {
		return nil
	}
	return v.Interface()
}

func writtenStruct(v reflect.Value) any {
	if set := v.FieldByName("Set"); set.IsValid() && set.Kind() == reflect.Bool { // config.Value
		if !set.Bool() {
			return nil
		}
		if val := v.FieldByName("V"); val.Kind() != reflect.Struct && val.Kind() != reflect.Int64 {
			return val.Interface() // a zero that was written counts
		}
		return written(v.FieldByName("V"))
	}
	out := map[string]any{}
	for i := range v.NumField() {
		f := v.Type().Field(i)
		if !f.IsExported() || f.Name == "Pos" {
			continue
		}
		if e := written(v.Field(i)); e != nil && e != false {
			out[f.Name] = e
		}
	}
	if len(out) == 0 {
		return nil
	}
	return out
}
