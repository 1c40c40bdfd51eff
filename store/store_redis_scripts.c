/* See store_redis_scripts.h. The scripts run on Redis 6.2 and later, and on Valkey. They use Redis'
 * own clock. A key of a wrong type is removed and made anew: who can write to Redis may delete our
 * keys anyway, and calls go on. */
#include "store/store_redis_scripts.h"

#include "base/crypto.h"
#include "store/store.h"
#include "store/store_mac.h"

/* Calls a command on a key of ours; when the key has a wrong type, removes it and calls again. */
#define LUA_OURS                                                                                   \
    "local forged = 0\n"                                                                           \
    "local function ours(command, key, ...)\n"                                                     \
    "  local r = redis.pcall(command, key, ...)\n"                                                 \
    "  if type(r) == 'table' and r.err and string.find(r.err, 'WRONGTYPE', 1, true) then\n"        \
    "    redis.call('DEL', key)\n"                                                                 \
    "    forged = 1\n"                                                                             \
    "    r = redis.pcall(command, key, ...)\n"                                                     \
    "  end\n"                                                                                      \
    "  return r\n"                                                                                 \
    "end\n"

/* The status codes by name. */
#define LUA_STATUS "local OK, ABSENT, HELD = 0, 1, 2\n"
_Static_assert(STORE_OK == 0 && STORE_ABSENT == 1 && STORE_HELD == 2, "as the scripts say");

/* The same decision as store_rate.c. Exact windows are a list of the times of admissions in
 * microseconds. Larger ones are a hash of counts by part of the window, with t, their sum, and o,
 * the oldest part that is kept. These numbers carry no MAC: the script itself must change them, and
 * who can write to Redis gains no more by forging than by deleting them. */
#define EXACT   "1000"
#define BUCKETS "60"
_Static_assert(STORE_EXACT_MAX == 1000 && STORE_BUCKETS == 60, "as the script says");

static const char admit[] = LUA_OURS LUA_STATUS
    "local t = redis.call('TIME')\n"
    "local now = t[1] * 1000000 + t[2]\n"
    "local function exact(key, limit, window)\n"
    "  local n, out, upto = ours('LLEN', key), now - window, 0\n"
    "  if n > " EXACT " then redis.call('DEL', key) n = 0 forged = 1 end\n"
    "  while n > 0 do\n"
    "    local some, gone = redis.call('LRANGE', key, 0, upto), 0\n"
    "    for _, at in ipairs(some) do\n"
    "      at = tonumber(at) or 0\n"
    "      if at > out and at <= now then break end\n"
    "      gone = gone + 1\n"
    "    end\n"
    "    if gone == 0 then break end\n"
    "    redis.call('LTRIM', key, gone, -1)\n"
    "    n = n - gone\n"
    "    if gone < #some then break end\n"
    "    upto = 31\n"
    "  end\n"
    "  if n < limit then return limit - n, 0 end\n"
    "  local wait = (tonumber(redis.call('LINDEX', key, -limit)) or 0) - out\n"
    "  return 0, math.max(1, math.min(wait, window))\n"
    "end\n"
    "local function parts(key, limit, window)\n"
    "  local w = math.ceil(window / " BUCKETS ")\n"
    "  local last = math.floor(now / w)\n"
    "  local r = ours('HMGET', key, 't', 'o')\n"
    "  local total, first = tonumber(r[1] or 0) or 0, tonumber(r[2] or last) or last\n"
    "  if first > last or first < last - 2 * " BUCKETS " then\n"
    "    redis.call('DEL', key)\n"
    "    total, first = 0, last\n"
    "  end\n"
    "  local from = first\n"
    "  while first < last - " BUCKETS " do\n"
    "    total = total - (tonumber(redis.call('HGET', key, first) or 0) or 0)\n"
    "    redis.call('HDEL', key, first)\n"
    "    first = first + 1\n"
    "  end\n"
    "  if first > from then redis.call('HSET', key, 't', total, 'o', first) end\n"
    "  if total < limit then return limit - total, 0, last, first, w, total end\n"
    "  local i = first\n"
    "  while i < last do\n"
    "    total = total - (tonumber(redis.call('HGET', key, i) or 0) or 0)\n"
    "    if total < limit then break end\n"
    "    i = i + 1\n"
    "  end\n"
    "  return 0, (i + " BUCKETS " + 1) * w - now\n"
    "end\n"
    "local status, left, held, retry, took = OK, 2^53, 0, 0, {}\n"
    "for i, key in ipairs(KEYS) do\n"
    "  local limit, window = tonumber(ARGV[2 * i - 1]), ARGV[2 * i] * 1000\n"
    "  local free, wait, last, first, w, total = 0, -1, nil, nil, 0, 0\n"
    "  if limit > " EXACT " then free, wait, last, first, w, total = parts(key, limit, window)\n"
    "  elseif limit > 0 then free, wait = exact(key, limit, window) end\n"
    "  took[i] = {last, first, w or 0, window, total}\n"
    "  if free == 0 and (status == OK or wait < 0 or (retry >= 0 and wait > retry)) then\n"
    "    status, held, retry = HELD, i - 1, wait\n"
    "  end\n"
    "  left = math.min(left, free - 1)\n"
    "end\n"
    "if status == HELD then\n"
    "  return {HELD, forged, 0, held, retry < 0 and -1 or math.ceil(retry / 1000)}\n"
    "end\n"
    "for i, key in ipairs(KEYS) do\n"
    "  local last, first, w, window, total = unpack(took[i], 1, 5)\n"
    "  if last then\n"
    "    local n = tonumber(redis.call('HGET', key, last) or 0) or 0\n"
    "    redis.call('HSET', key, last, n + 1, 't', total + 1, 'o', first)\n"
    "  else\n"
    "    redis.call('RPUSH', key, now)\n"
    "  end\n"
    "  redis.call('PEXPIRE', key, math.ceil((window + w) / 1000))\n"
    "end\n"
    "return {OK, forged, left, 0, 0}\n";

/* The payload within the envelope, of which no more is read than could be right. */
#define LUA_PAYLOAD                                                                                \
    "local v = ours('GETRANGE', KEYS[1], 0, #ARGV[1] + 45)\n"                                      \
    "if v == '' then return {ABSENT, forged} end\n"                                                \
    "if #v ~= #ARGV[1] + 45 or string.sub(v, 14, -33) ~= ARGV[1] then\n"                           \
    "  return {HELD, forged}\n"                                                                    \
    "end\n"
_Static_assert(STORE_MAC_BYTES == 45 && STORE_MAC_HEAD == 13 && STORE_MAC_TAIL == 32,
               "as the scripts say");

static const char del_if[] = LUA_OURS LUA_STATUS LUA_PAYLOAD "redis.call('DEL', KEYS[1])\n"
                                                             "return {OK, forged}\n";

static const char extend[] =
    LUA_OURS LUA_STATUS LUA_PAYLOAD "redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])\n"
                                    "return {OK, forged}\n";

/* A stream whose ids are the numbers: Redis itself refuses what does not rise. */
static const char append[] = LUA_OURS LUA_STATUS
    "local r = ours('XADD', KEYS[1], 'MINID', ARGV[2], ARGV[1] .. '-0', 'v', ARGV[3])\n"
    "if type(r) == 'table' and r.err then\n"
    "  if not string.find(r.err, 'equal or smaller', 1, true) then return r end\n"
    "  local e = redis.call('XREVRANGE', KEYS[1], '+', '-', 'COUNT', 1)[1]\n"
    "  return {HELD, forged, e and string.match(e[1], '^%d+') or '0'}\n"
    "end\n"
    "redis.call('PEXPIRE', KEYS[1], ARGV[4])\n"
    "return {OK, forged, ARGV[1]}\n";

static const char read[] = LUA_OURS LUA_STATUS
    "local out, from, bytes, most = {OK, 0, 0}, ARGV[1], 0, tonumber(ARGV[2])\n"
    "local seen = 0\n"
    "while #out < 3 + 2 * most do\n"
    "  local some = ours('XRANGE', KEYS[1], from, '+', 'COUNT', 8)\n"
    "  for _, e in ipairs(some) do\n"
    "    seen = seen + 1\n"
    "    if seen == 1 and e[1] == ARGV[1] .. '-0' then\n"
    "      out[3] = 1\n"
    "    else\n"
    "      local v = e[2][2] or ''\n"
    "      if #v > tonumber(ARGV[4]) then v = '' end\n"
    "      if #out == 3 + 2 * most or (bytes > 0 and bytes + #v > tonumber(ARGV[3])) then\n"
    "        return out\n"
    "      end\n"
    "      bytes = bytes + #v\n"
    "      out[#out + 1] = string.match(e[1], '^%d+')\n"
    "      out[#out + 1] = v\n"
    "    end\n"
    "  end\n"
    "  if #some < 8 then break end\n"
    "  from = '(' .. some[#some][1]\n"
    "end\n"
    "out[2] = forged\n"
    "if seen == 0 then return {ABSENT, forged, 0} end\n"
    "return out\n";

/* Members with the end of their time as score. */
static const char join[] = LUA_OURS LUA_STATUS
    "local t = redis.call('TIME')\n"
    "local now, ttl = t[1] * 1000 + math.floor(t[2] / 1000), tonumber(ARGV[2])\n"
    "ours('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)\n"
    "local n = redis.call('ZCARD', KEYS[1])\n"
    "if n >= tonumber(ARGV[3]) and not redis.call('ZSCORE', KEYS[1], ARGV[1]) then\n"
    "  return {HELD, forged, n}\n"
    "end\n"
    "n = n + redis.call('ZADD', KEYS[1], now + ttl, ARGV[1])\n"
    "if redis.call('PTTL', KEYS[1]) < ttl then redis.call('PEXPIRE', KEYS[1], ttl) end\n"
    "return {OK, forged, n}\n";

static const char members[] = LUA_OURS LUA_STATUS
    "local t = redis.call('TIME')\n"
    "local now = t[1] * 1000 + math.floor(t[2] / 1000) + 1\n"
    "local all = ours('ZRANGEBYSCORE', KEYS[1], now, '+inf', 'LIMIT', 0, ARGV[1])\n"
    "local out = {OK, forged}\n"
    "for _, m in ipairs(all) do\n"
    "  if #m > tonumber(ARGV[2]) then m = '' end\n"
    "  out[#out + 1] = m\n"
    "end\n"
    "if #out == 2 then out[1] = ABSENT end\n"
    "return out\n";

struct str redis_script_text(enum redis_script s)
{
    switch (s) {
    case SCRIPT_ADMIT: return STR(admit);
    case SCRIPT_DEL_IF: return STR(del_if);
    case SCRIPT_EXTEND: return STR(extend);
    case SCRIPT_APPEND: return STR(append);
    case SCRIPT_READ: return STR(read);
    case SCRIPT_JOIN: return STR(join);
    case SCRIPT_MEMBERS: return STR(members);
    case SCRIPTS: break;
    }
    return (struct str){0};
}

void redis_scripts_name(struct redis_script_names *n)
{
    for (int i = 0; i < SCRIPTS; i++) {
        uint8_t sha1[20];
        struct buf hex = {0};
        crypto_sha1(redis_script_text((enum redis_script)i), sha1);
        crypto_hex(&hex, sha1, sizeof sha1);
        memcpy(n->sha1[i], hex.p, 40);
        n->sha1[i][40] = '\0';
        buf_fini(&hex);
    }
}
