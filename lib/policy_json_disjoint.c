// SPDX-License-Identifier: BSD-2-Clause
/* Lists of a rule's selectors: nothing is in one twice, as that is a slip more often than meant. */
#include <stdio.h>
#include <stdlib.h>

#include "policy_json.h"

struct element {
	struct address_range range;
	size_t index;		/* in the text */
};

static int compare_elements(const void *a, const void *b)
{
	const struct element *x = a, *y = b;
	int order;

	if (x->range.family != y->range.family)
		return x->range.family < y->range.family ? -1 : 1;
	order = addr128_compare(x->range.lo, y->range.lo);
	return order ? order : x->index < y->index ? -1 : x->index > y->index;
}

/* Notes in `other`, by index, which earlier element (+ 1) one has something in common with. */
static void find_overlaps(struct element *elements, size_t count, size_t *other)
{
	const struct element *widest = elements;

	qsort(elements, count, sizeof(*elements), compare_elements);
	for (size_t i = 1; i < count; i++) {
		const struct element *element = &elements[i];
		bool first = element->index < widest->index;

		if (element->range.family == widest->range.family &&
		    addr128_compare(element->range.lo, widest->range.hi) <= 0)
			other[first ? widest->index : element->index] =
				(first ? element->index : widest->index) + 1;
		if (element->range.family != widest->range.family ||
		    addr128_compare(element->range.hi, widest->range.hi) > 0)
			widest = element;
	}
}

static const char *text_of(const json_t *json, char out[64])
{
	if (json_is_string(json))
		snprintf(out, 64, "\"%.60s\"", json_string_value(json));
	else
		snprintf(out, 64, "%" JSON_INTEGER_FORMAT, json_integer_value(json));
	return out;
}

static void report_overlaps(struct json_reader *reader, struct json_value value, const size_t *other)
{
	struct json_value element = { .node = json_where_first(reader->where, value.node) };
	char later[64], earlier[64];
	size_t i;

	json_array_foreach(value.json, i, element.json) {
		if (other[i])
			json_error(reader, element, NULL, "%s overlaps %s in the same list",
				   text_of(element.json, later),
				   text_of(json_array_get(value.json, other[i] - 1), earlier));
		element.node = json_where_next(reader->where, value.node, element.node);
	}
}

static void require_disjoint(struct json_reader *reader, struct json_value value,
			     struct element *elements, size_t count)
{
	size_t *other = calloc(count, sizeof(*other));

	if (!other || !elements) {
		reader->no_memory = true;
	} else {
		find_overlaps(elements, count, other);
		report_overlaps(reader, value, other);
	}
	free(other);
}

/* A list with elements that could not be read has its errors already. */
static bool is_whole(struct json_value value, size_t count)
{
	return count > 1 && json_array_size(value.json) == count;
}

void policy_require_disjoint_addresses(struct json_reader *reader, struct json_value value,
				       const struct address_list *list)
{
	struct element *elements;

	if (!is_whole(value, list->count))
		return;
	elements = calloc(list->count, sizeof(*elements));
	for (size_t i = 0; elements && i < list->count; i++)
		elements[i] = (struct element){ list->items[i], i };
	require_disjoint(reader, value, elements, list->count);
	free(elements);
}

void policy_require_disjoint_ranges(struct json_reader *reader, struct json_value value,
				    const struct port_list *list)
{
	struct element *elements;

	if (!is_whole(value, list->count))
		return;
	elements = calloc(list->count, sizeof(*elements));
	for (size_t i = 0; elements && i < list->count; i++)
		elements[i] = (struct element){
			.range.lo.lo = list->items[i].lo,
			.range.hi.lo = list->items[i].hi,
			.index = i,
		};
	require_disjoint(reader, value, elements, list->count);
	free(elements);
}
