// SPDX-License-Identifier: BSD-2-Clause
#include "mountinfo.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What the kernel writes as \ooo: blanks, newlines and the backslash itself. */
static bool octal(const char *text, char *ret_octet)
{
	int value = 0;

	for (int i = 0; i < 3; i++) {
		if (text[i] < '0' || text[i] > '7')
			return false;
		value = value * 8 + (text[i] - '0');
	}
	*ret_octet = (char)value;
	return true;
}

/* One word, unescaped; what follows it, or NULL if it is empty or too long. */
static const char *take_word(const char *text, char *out, size_t out_len)
{
	size_t used = 0;

	text += strspn(text, " ");
	while (*text && *text != ' ' && *text != '\n') {
		if (used + 1 >= out_len)
			return NULL;
		if (*text == '\\' && octal(text + 1, &out[used])) {
			text += 4;
		} else {
			out[used] = *text++;
		}
		used++;
	}
	out[used] = '\0';
	return used ? text : NULL;
}

bool mountinfo_line(const char *line, struct mount_entry *ret_entry)
{
	const char *text;
	int used = 0;

	if (sscanf(line, "%" SCNu64 " %*u %u:%u%n", &ret_entry->id, &ret_entry->major,
		   &ret_entry->minor, &used) != 3)
		return false;
	text = take_word(line + used, ret_entry->root, sizeof(ret_entry->root));
	if (text)
		text = take_word(text, ret_entry->point, sizeof(ret_entry->point));
	/* Optional fields, as many as there are, end with a dash. */
	text = text ? strstr(text, " - ") : NULL;
	return text && take_word(text + 3, ret_entry->type, sizeof(ret_entry->type));
}

int mountinfo_find(const char *path, uint64_t id, const char *type,
		   struct mount_entry *ret_entry)
{
	FILE *file = fopen(path, "re");
	char *line = NULL;
	size_t size = 0;
	bool found = false;

	if (!file)
		return -errno;
	while (!found && getline(&line, &size, file) >= 0) {
		if (!mountinfo_line(line, ret_entry))
			continue;
		found = type ? !strcmp(type, ret_entry->type) && !strcmp(ret_entry->root, "/") :
			       ret_entry->id == id;
	}
	free(line);
	fclose(file);
	return found ? 0 : -ENOENT;
}
