/* SPDX-License-Identifier: Apache-2.0 */
#include "mal/closure-names.h"

#include <string.h>

/* Arguments: S string, N number, R string that is a regex. */
static const struct mal_method_info methods[] = {
	[MAL_METHOD_CONTAINS] = {"contains", "S", MAL_TYPE_BOOL},
	[MAL_METHOD_STARTS_WITH] = {"startsWith", "S", MAL_TYPE_BOOL},
	[MAL_METHOD_ENDS_WITH] = {"endsWith", "S", MAL_TYPE_BOOL},
	[MAL_METHOD_EQUALS] = {"equals", "S", MAL_TYPE_BOOL},
	[MAL_METHOD_EQUALS_IGNORE_CASE] = {"equalsIgnoreCase", "S", MAL_TYPE_BOOL},
	[MAL_METHOD_IS_EMPTY] = {"isEmpty", "", MAL_TYPE_BOOL},
	[MAL_METHOD_IS_BLANK] = {"isBlank", "", MAL_TYPE_BOOL},
	[MAL_METHOD_LENGTH] = {"length", "", MAL_TYPE_NUMBER},
	[MAL_METHOD_SIZE] = {"size", "", MAL_TYPE_NUMBER},
	[MAL_METHOD_TRIM] = {"trim", "", MAL_TYPE_STRING},
	[MAL_METHOD_STRIP] = {"strip", "", MAL_TYPE_STRING},
	[MAL_METHOD_TO_LOWER_CASE] = {"toLowerCase", "", MAL_TYPE_STRING},
	[MAL_METHOD_TO_UPPER_CASE] = {"toUpperCase", "", MAL_TYPE_STRING},
	[MAL_METHOD_SUBSTRING] = {"substring", "N|NN", MAL_TYPE_STRING},
	[MAL_METHOD_INDEX_OF] = {"indexOf", "S", MAL_TYPE_NUMBER},
	[MAL_METHOD_LAST_INDEX_OF] = {"lastIndexOf", "S", MAL_TYPE_NUMBER},
	[MAL_METHOD_CONCAT] = {"concat", "S", MAL_TYPE_STRING},
	[MAL_METHOD_REPLACE] = {"replace", "SS", MAL_TYPE_STRING},
	[MAL_METHOD_REPLACE_ALL] = {"replaceAll", "RS", MAL_TYPE_STRING},
	[MAL_METHOD_REPLACE_FIRST] = {"replaceFirst", "RS", MAL_TYPE_STRING},
	[MAL_METHOD_MATCHES] = {"matches", "R", MAL_TYPE_BOOL},
	[MAL_METHOD_SPLIT] = {"split", "R|RN", MAL_TYPE_ARRAY},
	[MAL_METHOD_TO_STRING] = {"toString", "", MAL_TYPE_STRING},
	[MAL_METHOD_PUT] = {"put", "SS", MAL_TYPE_STRING},
	[MAL_METHOD_REMOVE] = {"remove", "S", MAL_TYPE_STRING},
};
_Static_assert(ELEMENTS_OF(methods) == _MAL_METHOD_MAX, "every method needs its line");

const struct mal_method_info *mal_method_info(enum mal_method m)
{
	return &methods[m];
}

bool mal_method_by_name(const char *name, size_t len, enum mal_method *ret)
{
	for (size_t i = 0; i < ELEMENTS_OF(methods); i++) {
		if (strlen(methods[i].name) == len && memcmp(methods[i].name, name, len) == 0) {
			*ret = (enum mal_method)i;
			return true;
		}
	}
	return false;
}

static const struct {
	const char *name;
	enum sonde_mal_virtual kind;
	size_t args;
} registry[] = {
	{"generateVirtualLocalProcess", SONDE_MAL_VIRTUAL_LOCAL, 2},
	{"generateVirtualRemoteProcess", SONDE_MAL_VIRTUAL_REMOTE, 3},
	{"generateVirtualProcess", SONDE_MAL_VIRTUAL_NAMED, 3},
};

bool mal_registry_by_name(const char *name, size_t len, enum sonde_mal_virtual *ret,
			  size_t *ret_args)
{
	for (size_t i = 0; i < ELEMENTS_OF(registry); i++) {
		if (strlen(registry[i].name) == len && memcmp(registry[i].name, name, len) == 0) {
			*ret = registry[i].kind;
			*ret_args = registry[i].args;
			return true;
		}
	}
	return false;
}
