// SPDX-License-Identifier: BSD-2-Clause
#include "rule_line.h"

#include <string.h>

#include "output.h"

const char *rule_file_text(const char *file)
{
	if (!file)
		return "policy show";
	return strcmp(file, "-") ? file : "standard input";
}

void out_rule_line(const char *file, uint32_t line)
{
	if (!line)
		return;
	if (!file) {
		out_text(", line %u of %s", line, rule_file_text(file));
		return;
	}
	out_string(OUT_TEXT, NULL, " (%s", rule_file_text(file));
	out_text(":%u)", line);
}

void out_rule_file(const char *key, const char *file)
{
	if (file)
		out_string(OUT_JSON, key, out_plain, file);
	else
		out_null(OUT_JSON, key, NULL);
}
