// SPDX-License-Identifier: BSD-2-Clause
#include "crypto.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>

#include "engine.h"
#include "iv_pool.h"

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

static int warm_up_suite(const struct crypto_engine *engine, const struct esp_suite *suite)
{
	const uint8_t key[SUITE_KEY_MAX] = { 1 }, mac_key[SUITE_KEY_MAX] = { 2 };
	uint8_t packet[8 + SUITE_IV_MAX + 64 + SUITE_ICV_MAX] = { 0 };
	struct crypto_op op = {
		.data = packet + 8 + suite->iv_len,
		.len = 64,
		.aad = packet,
		.aad_len = 8,
		.iv = packet + 8,
		.auth = packet,
		.auth_len = 8u + suite->iv_len + 64u,
		.icv = packet + 8 + suite->iv_len + 64,
	};
	struct crypto_key *made = engine->key_new(suite, key, mac_key);

	if (!made)
		return -errno;
	engine->seal(made, &op, 1);
	if (!op.err)
		engine->open(made, &op, 1);
	engine->key_free(made);
	return op.err;
}

static int warm_up_ivs(void)
{
	struct iv_pool *pool = iv_pool_new();

	if (!pool)
		return -errno;
	iv_pool_free(pool);
	return 0;
}

int crypto_warm_up(const char *name)
{
	const struct crypto_engine *engine;
	const struct esp_suite *suite;
	bool found = false;
	int err = 0;

	for (unsigned int i = 0; !err && (engine = crypto_engine_at(i)); i++) {
		if (name && strcmp(name, engine->name))
			continue;
		found = true;
		for (size_t k = 0; !err && (suite = suite_at(k)); k++)
			if (engine->supports(suite))
				err = warm_up_suite(engine, suite);
	}
	if (!err)
		err = warm_up_ivs();
	return err || found ? err : -ENOENT;
}
