using EfEnvelope;
using Microsoft.EntityFrameworkCore;
using Microsoft.EntityFrameworkCore.Design;

namespace BankingDemo.Model;

/// <summary>For <c>dotnet ef</c>: no key service is called at design time.</summary>
public sealed class SqliteDesignTimeFactory : IDesignTimeDbContextFactory<SqliteBankContext>
{
    public SqliteBankContext CreateDbContext(string[] args)
        => new(new DbContextOptionsBuilder<SqliteBankContext>().UseSqlite("Data Source=banking-demo.db").UseEnvelopeEncryption(e => e.UseAwsKms("alias/banking")).Options);
}

public sealed class PostgresDesignTimeFactory : IDesignTimeDbContextFactory<PostgresBankContext>
{
    public PostgresBankContext CreateDbContext(string[] args)
        => new(new DbContextOptionsBuilder<PostgresBankContext>()
            .UseNpgsql(Environment.GetEnvironmentVariable("BANKINGDEMO_POSTGRES") ?? "Host=localhost;Database=banking").UseEnvelopeEncryption(e => e.UseAwsKms("alias/banking")).Options);
}
