package pages

import "html/template"

// Broken renders with a template that fails half-way.
func Broken() []byte {
	return render(template.Must(template.New("broken").Parse("<p>{{.NoSuchField}}")), view{})
}
