using System.Collections.Concurrent;
using Npgsql;

namespace EfEnvelope.Storage.Ring;

/// <summary>
/// Connections with the certificates, callbacks and password of the caller's. The password of a data source may come from a provider (access tokens), which is asked asynchronously, since many have no other form. The driver keeps a pool
/// for each connection string, the password among it, and tokens differ from call to call: one is used again, for new connections, as long as it is young and the server takes it. Data sources with equal connection strings share what the provider of one of them answered. Thread safe.
/// </summary>
internal static class PostgresClones
{
    /// <summary>Access tokens of the cloud providers open new connections for 15 minutes and more.</summary>
    private static readonly TimeSpan PasswordAge = TimeSpan.FromMinutes(10);

    /// <summary>What a provider answered, by the connection string without a password.</summary>
    private static readonly ConcurrentDictionary<string, (string WithPassword, long At)> Answers = new(StringComparer.Ordinal);

    /// <param name="template">Not yet disposed of when the connection is made.</param>
    /// <param name="connectionString">The connection's own settings; its password may be left out.</param>
    public static RingConnection.Create Of(NpgsqlConnection template, string connectionString)
        => async cancellationToken =>
        {
            if (Answers.TryGetValue(connectionString, out var answer) && Environment.TickCount64 - answer.At < PasswordAge.TotalMilliseconds)
            {
                var known = template.CloneWith(answer.WithPassword);
                try
                {
                    await known.OpenAsync(cancellationToken).ConfigureAwait(false);
                    return known;
                }
                catch (PostgresException error) when (!IsServersTrouble(error.SqlState))
                {
                    // Refused, most likely; with which state, poolers in between differ. The provider's next answer shows.
                    await known.DisposeAsync().ConfigureAwait(false);
                    Answers.TryRemove(new KeyValuePair<string, (string, long)>(connectionString, answer));
                }
                catch
                {
                    await known.DisposeAsync().ConfigureAwait(false);
                    throw;
                }
            }

            try
            {
                var clone = await template.CloneWithAsync(connectionString, cancellationToken).ConfigureAwait(false);
                if (clone.ConnectionString != connectionString)
                {
                    Answers[connectionString] = (clone.ConnectionString, Environment.TickCount64);
                }

                return clone;
            }
            catch (NpgsqlException) when (cancellationToken.IsCancellationRequested)
            {
                // The driver wraps whatever a provider throws, a cancellation too.
                cancellationToken.ThrowIfCancellationRequested();
                throw;
            }
        };

    /// <summary>
    /// The server has no room (class 53: too many connections, disk or memory full) or is not there for anybody (class 57: starting, shutting down): the password has nothing to do with it, and another token would only be another pool.
    /// </summary>
    private static bool IsServersTrouble(string sqlState) => sqlState.StartsWith("53", StringComparison.Ordinal) || sqlState.StartsWith("57", StringComparison.Ordinal);
}
