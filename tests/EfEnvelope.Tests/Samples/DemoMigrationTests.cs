using System.Reflection;
using EfEnvelope.JobProcess.Load;
using EfEnvelope.Tests.Architecture;
using Microsoft.EntityFrameworkCore;

namespace EfEnvelope.Tests.Samples;

/// <summary>The demo's migrations are those of its present model, EfEnvelope's tables and annotations included.</summary>
public sealed class DemoMigrationTests
{
    [Theory]
    [InlineData("SqliteBankContext")]
    [InlineData("PostgresBankContext")]
    public void No_change_of_the_model_is_without_a_migration(string name)
    {
        using var context = Create(name);
        Assert.Equal(name.StartsWith("Sqlite", StringComparison.Ordinal), context.Database.IsSqlite());
        Assert.NotEmpty(context.Database.GetMigrations());
        Assert.False(context.Database.HasPendingModelChanges(), $"dotnet ef migrations add NAME --context {name}");
    }

    /// <summary>With the options of the demo's own factory, as one of many. The demo is no reference of the tests, which have namespaces of their own for the same names.</summary>
    private static DbContext Create(string name)
    {
        var output = new DirectoryInfo(AppContext.BaseDirectory.TrimEnd(Path.DirectorySeparatorChar));
        var demo = Assembly.LoadFrom(Path.Combine(RepositoryFolder.Path, "samples", "BankingDemo", "bin", output.Parent!.Name, output.Name, "BankingDemo.dll"));
        var type = Assert.Single(demo.GetTypes(), t => t.Name == name);
        var builder = TestOptions.AmongMany((DbContextOptionsBuilder)Activator.CreateInstance(typeof(DbContextOptionsBuilder<>).MakeGenericType(type))!);
        builder = name.StartsWith("Sqlite", StringComparison.Ordinal) ? builder.UseSqlite("Data Source=banking-demo.db") : builder.UseNpgsql("Host=localhost;Database=banking");
        return (DbContext)Activator.CreateInstance(type, builder.UseEnvelopeEncryption(e => e.UseAwsKms("alias/banking")).Options)!;
    }
}
