using EfEnvelope.JobProcess.Load;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.JobProcess.Oracle;

/// <summary>Decrypts every row and compares it with the oracle.</summary>
internal static class Verifier
{
    public static async Task<VerifierResult> RunAsync(Target target, RowOracle oracle, IReadOnlyCollection<string>? kinds = null, CancellationToken cancellationToken = default)
    {
        var wrong = new List<string>();
        long rows = 0;
        await using var context = target.CreateContext();
        await AddAsync<Item>("Item");
        await AddAsync<Paper>("Paper");
        await AddAsync<Card>("Card");
        await AddAsync<Ledger>("Ledger");
        return new VerifierResult(rows, wrong.Count, wrong);

        async Task AddAsync<T>(string kind)
            where T : class, IChaosRow
        {
            if (kinds is not null && !kinds.Contains(kind))
            {
                return;
            }

            var initial = new bool[oracle.Rows];
            var others = new HashSet<long>();
            await foreach (var row in context.Set<T>().AsNoTracking().AsAsyncEnumerable().WithCancellation(cancellationToken))
            {
                rows++;
                if (!oracle.Allows(kind, row))
                {
                    wrong.Add($"{kind} {row.Number}: holds ({row.First}, {row.Second}), the application wrote {oracle.Committed(kind, row.Number)}{(oracle.Intended(kind, row.Number) is { } intended ? $" or {intended}" : "")}");
                }

                if (row.Number < initial.Length)
                {
                    initial[row.Number] = true;
                }
                else
                {
                    others.Add(row.Number);
                }
            }

            for (long number = 0; number < initial.Length; number++)
            {
                if (!initial[number] && !oracle.AllowsAbsence(kind, number))
                {
                    wrong.Add($"{kind} {number}: is gone");
                }
            }

            foreach (var (touched, number) in oracle.Touched)
            {
                if (touched == kind && number >= initial.Length && !others.Contains(number) && !oracle.AllowsAbsence(kind, number))
                {
                    wrong.Add($"{kind} {number}: is gone");
                }
            }
        }
    }
}

/// <param name="Rows">Rows that were decrypted.</param>
/// <param name="LostUpdates">Rows that do not hold the application's last write.</param>
/// <param name="Wrong">Which, and how.</param>
internal sealed record VerifierResult(long Rows, int LostUpdates, IReadOnlyList<string> Wrong);
