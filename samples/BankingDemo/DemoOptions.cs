using BankingDemo.Model;
using EfEnvelope;
using Microsoft.EntityFrameworkCore;

namespace BankingDemo;

/// <summary>What the command line chose.</summary>
internal sealed record DemoOptions(int Customers, string? Postgres, string? AwsKmsKey, string? Import, string Folder)
{
    /// <summary>Short, so that the demo need not wait a minute for the cut-off.</summary>
    private static readonly TimeSpan SealingLease = TimeSpan.FromSeconds(2);

    public BankContext CreateContext()
    {
        if (Postgres is not null)
        {
            return new PostgresBankContext(new DbContextOptionsBuilder<PostgresBankContext>().UseNpgsql(Postgres).UseEnvelopeEncryption(Envelope).Options);
        }

        return new SqliteBankContext(new DbContextOptionsBuilder<SqliteBankContext>().UseSqlite($"Data Source={Path.Combine(Folder, "banking-demo.db")}").UseEnvelopeEncryption(Envelope).Options);
    }

    private void Envelope(EnvelopeOptionsBuilder envelope)
    {
        if (AwsKmsKey is not null)
        {
            envelope.UseAwsKms(AwsKmsKey);
        }
        else
        {
            envelope.UseLocalKms(Path.Combine(Folder, "dev-keys.json"), o => o with { Environment = "Development" });
        }

        envelope.With(o => o with { SealingLease = SealingLease });
    }
}
