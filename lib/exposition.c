// SPDX-License-Identifier: BSD-2-Clause
#include "exposition.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_FIRST 16384

static const char *const type_names[] = {
#define X(id, word) [METRIC_##id] = word,
	METRIC_TYPES(X)
#undef X
};

const char *metric_type_name(enum metric_type type)
{
	return type_names[type];
}

void exposition_fini(struct exposition *exposition)
{
	free(exposition->text);
	*exposition = (struct exposition){ 0 };
}

/* For `more` octets and the NUL. */
static bool make_room(struct exposition *exposition, size_t more)
{
	size_t room = exposition->room ? exposition->room : ROOM_FIRST;
	char *text;

	if (exposition->failed)
		return false;
	while (room <= exposition->len + more)
		room *= 2;
	if (room == exposition->room)
		return true;
	text = realloc(exposition->text, room);
	if (!text) {
		exposition->failed = true;
		return false;
	}
	exposition->text = text;
	exposition->room = room;
	return true;
}

static void put(struct exposition *exposition, const char *text, size_t len)
{
	if (!make_room(exposition, len))
		return;
	memcpy(exposition->text + exposition->len, text, len);
	exposition->len += len;
	exposition->text[exposition->len] = '\0';
}

static void put_text(struct exposition *exposition, const char *text)
{
	put(exposition, text, strlen(text));
}

/* Octets of the UTF-8 sequence (RFC 3629) that begins here; 0: none does. */
static size_t utf8_length(const char *text)
{
	const unsigned char *c = (const unsigned char *)text;
	size_t len = c[0] < 0x80 ? 1 : c[0] >= 0xc2 && c[0] < 0xe0 ? 2 :
		     (c[0] & 0xf0) == 0xe0 ? 3 : c[0] >= 0xf0 && c[0] < 0xf5 ? 4 : 0;

	for (size_t i = 1; i < len; i++)
		if ((c[i] & 0xc0) != 0x80)
			return 0;
	/* Nothing longer than need be, no surrogates, nothing above U+10FFFF. */
	if ((c[0] == 0xe0 && c[1] < 0xa0) || (c[0] == 0xed && c[1] > 0x9f) ||
	    (c[0] == 0xf0 && c[1] < 0x90) || (c[0] == 0xf4 && c[1] > 0x8f))
		return 0;
	return len;
}

/* In help texts a quotation mark stands for itself. */
static void put_escaped(struct exposition *exposition, const char *text, bool quoted)
{
	while (*text) {
		size_t len = utf8_length(text);

		if (*text == '\n')
			put_text(exposition, "\\n");
		else if (*text == '\\')
			put_text(exposition, "\\\\");
		else if (*text == '"' && quoted)
			put_text(exposition, "\\\"");
		else if (!len)
			put_text(exposition, "?");
		else
			put(exposition, text, len);
		text += len ? len : 1;
	}
}

void exposition_metric(struct exposition *exposition, const char *name, enum metric_type type,
		       const char *help)
{
	put_text(exposition, "# HELP ");
	put_text(exposition, name);
	put_text(exposition, " ");
	put_escaped(exposition, help, false);
	put_text(exposition, "\n# TYPE ");
	put_text(exposition, name);
	put_text(exposition, " ");
	put_text(exposition, metric_type_name(type));
	put_text(exposition, "\n");
}

static void put_value(struct exposition *exposition, struct metric_value value)
{
	char text[40];

	if (!value.is_real)
		snprintf(text, sizeof(text), "%" PRIu64, value.whole);
	else if (isnan(value.real))
		snprintf(text, sizeof(text), "NaN");
	else if (isinf(value.real))
		snprintf(text, sizeof(text), value.real > 0 ? "+Inf" : "-Inf");
	else
		snprintf(text, sizeof(text), "%.12g", value.real);
	put_text(exposition, text);
}

void exposition_sample(struct exposition *exposition, const char *name,
		       const struct metric_label *labels, size_t count, struct metric_value value)
{
	put_text(exposition, name);
	for (size_t i = 0; i < count; i++) {
		put_text(exposition, i ? "," : "{");
		put_text(exposition, labels[i].name);
		put_text(exposition, "=\"");
		put_escaped(exposition, labels[i].value, true);
		put_text(exposition, "\"");
	}
	put_text(exposition, count ? "} " : " ");
	put_value(exposition, value);
	put_text(exposition, "\n");
}
