// SPDX-License-Identifier: BSD-2-Clause
#include "crypto.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "engine.h"

/* All engines, the best first: crypto_engine_for() takes the first that fits. */
static const struct crypto_engine *const known[] = { &engine_ipsec_mb, &engine_openssl };
#define KNOWN_COUNT (sizeof(known) / sizeof(known[0]))

static const struct crypto_engine *usable[KNOWN_COUNT];
static unsigned int usable_count;
static pthread_once_t probed = PTHREAD_ONCE_INIT;

/* Insertion by priority, so that the order of `known` does not matter. */
static void add_usable(const struct crypto_engine *engine)
{
	unsigned int at = usable_count++;

	for (; at > 0 && usable[at - 1]->priority < engine->priority; at--)
		usable[at] = usable[at - 1];
	usable[at] = engine;
}

static void probe_all(void)
{
	for (size_t i = 0; i < KNOWN_COUNT; i++)
		if (known[i]->probe())
			add_usable(known[i]);
}

const struct crypto_engine *crypto_engine_at(unsigned int index)
{
	pthread_once(&probed, probe_all);
	return index < usable_count ? usable[index] : NULL;
}

const struct crypto_engine *crypto_engine_for(const struct esp_suite *suite, const char *name)
{
	const struct crypto_engine *engine;

	for (unsigned int i = 0; (engine = crypto_engine_at(i)); i++)
		if ((!name || !strcmp(engine->name, name)) && engine->supports(suite))
			return engine;
	errno = ENOENT;
	return NULL;
}
